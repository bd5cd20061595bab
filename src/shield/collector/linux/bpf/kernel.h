/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What of the kernel's structures is read here; CO-RE relocates each member against the running kernel's BTF. */
#pragma once

#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <stddef.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;

typedef struct { u64 val; } kernel_cap_t;
typedef struct { u32 val; } kuid_t;
typedef struct { u32 val; } kgid_t;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct qstr { u32 len; const unsigned char *name; };
struct inode { unsigned short i_mode; kuid_t i_uid; unsigned long i_ino; unsigned int i_nlink;
	       struct super_block *i_sb; };
struct super_block { u32 s_dev; };
struct dentry { struct dentry *d_parent; struct qstr d_name; struct inode *d_inode; };
struct vfsmount { struct dentry *mnt_root; };
struct mount { struct mount *mnt_parent; struct dentry *mnt_mountpoint; struct vfsmount mnt; };
struct path { struct vfsmount *mnt; struct dentry *dentry; };
struct file { struct path f_path; struct inode *f_inode; };
struct fs_struct { struct path root; struct path pwd; };
struct mm_struct { unsigned long arg_start, arg_end, env_start, env_end; struct file *exe_file; };
struct ns_common { unsigned int inum; };
struct pid_namespace { struct ns_common ns; };
struct user_namespace { struct ns_common ns; };
struct mnt_namespace { struct ns_common ns; };
struct uts_namespace { struct ns_common ns; };
struct ipc_namespace { struct ns_common ns; };
struct cgroup_namespace { struct ns_common ns; };
struct net { struct ns_common ns; };
struct nsproxy { struct uts_namespace *uts_ns; struct ipc_namespace *ipc_ns; struct mnt_namespace *mnt_ns;
		 struct net *net_ns; struct cgroup_namespace *cgroup_ns; };
struct upid { int nr; struct pid_namespace *ns; };
struct pid { unsigned int level; struct upid numbers[1]; };
struct tty_struct { char name[64]; };
struct atomic { int counter; };
struct signal_struct { struct atomic live; int group_exit_code; unsigned int flags; struct pid *pids[4];
		       struct tty_struct *tty; };
struct cred { kuid_t uid; kgid_t gid; kuid_t euid; kgid_t egid; kernel_cap_t cap_effective; struct user_namespace *user_ns; };
struct kernfs_node { const char *name; };
struct cgroup { struct kernfs_node *kn; };
struct cgroup_subsys_state { struct cgroup *cgroup; };
struct css_set { struct cgroup_subsys_state *subsys[1]; struct cgroup *dfl_cgrp; };
struct linux_binprm { int argc; const char *filename; };
struct task_struct {
	unsigned int flags;
	void *stack;
	int pid, tgid, exit_code;
	struct mm_struct *mm;
	struct task_struct *real_parent, *group_leader;
	struct pid *thread_pid;
	u64 start_boottime;
	const struct cred *cred;
	char comm[16];
	struct fs_struct *fs;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	kuid_t loginuid;
	unsigned int sessionid;
	struct css_set *cgroups;
};
struct in6_addr { u8 bytes[16]; };
typedef struct { struct net *net; } possible_net_t;
struct sock_common {
	unsigned short skc_family;
	volatile unsigned char skc_state;
	u16 skc_num, skc_dport;
	u32 skc_daddr, skc_rcv_saddr;
	unsigned long skc_flags;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
	possible_net_t skc_net;
};
struct socket { struct file *file; };
struct sock { struct sock_common __sk_common; u16 sk_protocol; struct socket *sk_socket; };
struct inet_sock { u16 inet_sport; };
struct tcp_sock { u64 bytes_received, bytes_sent, bytes_retrans; };
struct sk_buff { struct sock *sk; unsigned int len, data_len; u16 protocol, network_header; unsigned char *head, *data; };
#pragma clang attribute pop
