// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/*
 * Every process that starts, forks or ends, and whom it talks to, into one ring buffer.
 *
 * CO-RE: only the struct members read here are declared (kernel.h); libbpf relocates them against the running kernel's
 * BTF, so one object serves every kernel from 5.8. Strings, argv and DNS messages are copied whole, nothing is
 * interpreted: that is left to user space, which has no power. record.h is what the programs share, tcp.h, dns.h
 * and sending.h watch the network; a kernel that lacks one of their tracepoints still runs the programs here.
 *
 * Record layout (little endian, mirrored in ../exec_record.py): struct header, then for exec struct exec and the bytes
 * of invoked, exe, cwd, tty, cgroup, arguments, environment, one behind the other, lengths in struct exec. exe and cwd
 * are path components from the file up to the root of the process, each ended by a NUL.
 */
#include "record.h"
#include "tcp.h"
#include "dns.h"
#include "sending.h"

#define PF_FORKNOEXEC 0x40
#define SIGNAL_GROUP_EXIT 0x4
#define PIDTYPE_PGID 2
#define PIDTYPE_SID 3
#define COMPONENTS 48
#define NAME_MAX_BYTES 256
#define PATH_MAX_BYTES 4096
#define ARGS_MAX (1 << 18)
/* invoked, exe, cwd, tty and cgroup at their largest, before the arguments */
#define STRINGS_MAX (8 * PATH_MAX_BYTES)
/* Processes whose end is remembered; two of their threads come to it within microseconds, or not at all. */
#define ENDED_MAX 4096

struct exec {
	u64 cgroup_id;
	u64 capabilities;
	u64 inode;
	u64 args_length;
	u32 uid, gid, euid, egid, audit_id, audit_session;
	u32 session, ns_pid;
	u32 mnt_ns, pid_ns, net_ns, user_ns, uts_ns, ipc_ns, cgroup_ns;
	u32 device, mode, nlink, owner, argc;
	char comm[16];
	u32 invoked_len, exe_len, cwd_len, tty_len, cgroup_len, args_len, env_len;
};

struct scratch {
	struct header header;
	struct exec exec;
	u8 data[STRINGS_MAX + 2 * ARGS_MAX];
	u32 end;
};

struct ended { u64 start_ns; u64 pid; };

struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, ENDED_MAX); __type(key, struct ended);
	 __type(value, u8); } ended SEC(".maps");
/* One value a CPU (a per-CPU map can't hold values this large); the program can't interrupt itself on one CPU. */
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, u32); __type(value, struct scratch);
} scratch SEC(".maps");

/*
 * Append one NUL-ended string of at most `limit` bytes. Where the next one goes is kept in the map and masked at each
 * use, not carried in a register: so the verifier sees one state in the loops below, not one for each length.
 */
static __always_inline void append_string(struct scratch *s, const void *from, u32 limit)
{
	u32 at = s->end;
	long n;

	if (at > STRINGS_MAX - limit)
		return;
	n = bpf_probe_read_kernel_str(&s->data[at & (STRINGS_MAX - 1)], limit, from);
	if (n > 0)
		s->end = at + n;
}

static __always_inline u32 appended_since(struct scratch *s, u32 *begin)
{
	u32 length = s->end - *begin;

	*begin = s->end;
	return length;
}

static __always_inline struct mount *mount_of(struct vfsmount *mnt)
{
	return (void *)mnt - bpf_core_field_offset(struct mount, mnt);
}

/* Append the names from path up to the root of the process; mount points are crossed. */
static __always_inline void append_path(struct scratch *s, struct path *path, struct path *root)
{
	struct dentry *dentry = BPF_CORE_READ(path, dentry), *root_dentry = BPF_CORE_READ(root, dentry), *parent;
	struct mount *mount = mount_of(BPF_CORE_READ(path, mnt)), *root_mount = mount_of(BPF_CORE_READ(root, mnt));
	struct dentry *top = BPF_CORE_READ(mount, mnt.mnt_root);
	struct mount *above;
	int i;

	if (BPF_CORE_READ(dentry, d_parent) == dentry && dentry != top) { /* a memfd: a name without a place */
		append_string(s, BPF_CORE_READ(dentry, d_name.name), NAME_MAX_BYTES);
		return;
	}
	for (i = 0; i < COMPONENTS; i++) {
		if (dentry == root_dentry && mount == root_mount)
			return;
		parent = BPF_CORE_READ(dentry, d_parent);
		if (dentry == top || dentry == parent) {
			above = BPF_CORE_READ(mount, mnt_parent);
			if (above == mount)
				return;
			dentry = BPF_CORE_READ(mount, mnt_mountpoint);
			mount = above;
			top = BPF_CORE_READ(mount, mnt.mnt_root);
		} else {
			append_string(s, BPF_CORE_READ(dentry, d_name.name), NAME_MAX_BYTES);
			dentry = parent;
		}
	}
	s->header.flags |= FLAG_PATH_CUT;
}

static __always_inline void describe(struct exec *e, struct task_struct *task, struct linux_binprm *bprm)
{
	const struct cred *cred = BPF_CORE_READ(task, cred);
	struct nsproxy *ns = BPF_CORE_READ(task, nsproxy);
	struct inode *inode = BPF_CORE_READ(task, mm, exe_file, f_inode);
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	struct pid *session = BPF_CORE_READ(task, signal, pids[PIDTYPE_SID]);
	u32 level = BPF_CORE_READ(pid, level);
	struct upid own = {};

	bpf_core_read(&own, sizeof(own), (void *)pid + bpf_core_field_offset(struct pid, numbers) +
		      (level & 31) * bpf_core_type_size(struct upid));
	e->ns_pid = own.nr;
	e->pid_ns = BPF_CORE_READ(own.ns, ns.inum);
	e->session = BPF_CORE_READ(session, numbers[0].nr);
	e->uid = BPF_CORE_READ(cred, uid.val);
	e->gid = BPF_CORE_READ(cred, gid.val);
	e->euid = BPF_CORE_READ(cred, euid.val);
	e->egid = BPF_CORE_READ(cred, egid.val);
	bpf_core_read(&e->capabilities, sizeof(e->capabilities), &cred->cap_effective);
	e->user_ns = BPF_CORE_READ(cred, user_ns, ns.inum);
	e->audit_id = bpf_core_field_exists(task->loginuid) ? BPF_CORE_READ(task, loginuid.val) : (u32)-1;
	e->audit_session = bpf_core_field_exists(task->sessionid) ? BPF_CORE_READ(task, sessionid) : (u32)-1;
	e->mnt_ns = BPF_CORE_READ(ns, mnt_ns, ns.inum);
	e->net_ns = BPF_CORE_READ(ns, net_ns, ns.inum);
	e->uts_ns = BPF_CORE_READ(ns, uts_ns, ns.inum);
	e->ipc_ns = BPF_CORE_READ(ns, ipc_ns, ns.inum);
	e->cgroup_ns = BPF_CORE_READ(ns, cgroup_ns, ns.inum);
	e->inode = BPF_CORE_READ(inode, i_ino);
	e->device = BPF_CORE_READ(inode, i_sb, s_dev);
	e->mode = BPF_CORE_READ(inode, i_mode);
	e->nlink = BPF_CORE_READ(inode, i_nlink);
	e->owner = BPF_CORE_READ(inode, i_uid.val);
	e->argc = BPF_CORE_READ(bprm, argc);
	e->cgroup_id = bpf_get_current_cgroup_id();
	BPF_CORE_READ_STR_INTO(&e->comm, task, comm);
}

/* Fill the strings in front of the arguments. */
static __always_inline void append_strings(struct scratch *s, struct task_struct *task, struct linux_binprm *bprm)
{
	struct fs_struct *fs = BPF_CORE_READ(task, fs);
	struct file *exe = BPF_CORE_READ(task, mm, exe_file);
	struct tty_struct *tty = BPF_CORE_READ(task, signal, tty);
	struct css_set *cgroups = BPF_CORE_READ(task, cgroups);
	u32 begin = 0;

	s->end = 0;
	append_string(s, BPF_CORE_READ(bprm, filename), PATH_MAX_BYTES);
	s->exec.invoked_len = appended_since(s, &begin);
	append_path(s, &exe->f_path, &fs->root);
	s->exec.exe_len = appended_since(s, &begin);
	append_path(s, &fs->pwd, &fs->root);
	s->exec.cwd_len = appended_since(s, &begin);
	if (tty)
		append_string(s, &tty->name, NAME_MAX_BYTES);
	s->exec.tty_len = appended_since(s, &begin);
	append_string(s, BPF_CORE_READ(cgroups, dfl_cgrp, kn, name), NAME_MAX_BYTES);
	if (s->end <= begin + 1) { /* in the root of the unified hierarchy: perhaps a host with version 1 controllers */
		s->end = begin;
		append_string(s, BPF_CORE_READ(cgroups, subsys[0], cgroup, kn, name), NAME_MAX_BYTES);
	}
	s->exec.cgroup_len = appended_since(s, &begin);
}

/* Append user memory from start to end, `limit` bytes at most; return how many. */
static __always_inline u32 append_user(struct scratch *s, u64 start, u64 end, u32 limit)
{
	u32 at = s->end, length = end - start < limit ? end - start : limit;

	if (!length || length > ARGS_MAX || at >= STRINGS_MAX + ARGS_MAX)
		return 0;
	if (bpf_probe_read_user(&s->data[at], length, (void *)start)) {
		s->header.flags |= FLAG_ARGS_UNREADABLE;
		return 0;
	}
	s->end = at + length;
	return length;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	u32 cpu = bpf_get_smp_processor_id(), length;
	struct scratch *s = bpf_map_lookup_elem(&scratch, &cpu);
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	u64 start, end;

	if (!s)
		return 0;
	__builtin_memset(&s->header, 0, sizeof(s->header));
	s->header.kind = KIND_EXEC;
	identify(&s->header, task);
	describe(&s->exec, task, bprm);
	append_strings(s, task, bprm);

	start = BPF_CORE_READ(mm, arg_start);
	end = BPF_CORE_READ(mm, arg_end);
	s->exec.args_length = end - start;
	s->exec.args_len = append_user(s, start, end, args_limit);
	s->exec.env_len = append_user(s, BPF_CORE_READ(mm, env_start), BPF_CORE_READ(mm, env_end), env_limit);

	length = s->end;
	if (length > sizeof(s->data))
		return 0;
	deliver(s, offsetof(struct scratch, data) + length, KIND_EXEC, BPF_RB_FORCE_WAKEUP);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	struct header header = { .kind = KIND_FORK };

	if (BPF_CORE_READ(child, pid) != BPF_CORE_READ(child, tgid))
		return 0;
	identify(&header, child);
	deliver(&header, sizeof(header), KIND_FORK, BPF_RB_NO_WAKEUP);
	return 0;
}

/* Two threads that end at the same time may both see that none is left: only the first tells of the process's end. */
static __always_inline int told_already(struct header *header)
{
	struct ended key = { .start_ns = header->start_ns, .pid = header->pid };
	u8 present = 1;

	return bpf_map_update_elem(&ended, &key, &present, BPF_NOEXIST) == -EEXIST;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	struct header header = { .kind = KIND_EXIT };
	struct signal_struct *signal = BPF_CORE_READ(task, signal);

	if (BPF_CORE_READ(signal, live.counter) != 0)
		return 0;
	identify(&header, task);
	if (told_already(&header))
		return 0;
	header.status = BPF_CORE_READ(signal, flags) & SIGNAL_GROUP_EXIT
		? BPF_CORE_READ(signal, group_exit_code)
		: BPF_CORE_READ(task, group_leader, exit_code);
	/* Every new thread carries this flag; only the first one's says whether the process has replaced its image. */
	header.flags = BPF_CORE_READ(task, group_leader, flags) & PF_FORKNOEXEC ? 0 : FLAG_EXECED;
	deliver(&header, sizeof(header), KIND_EXIT, BPF_RB_NO_WAKEUP);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
