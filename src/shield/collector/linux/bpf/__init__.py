"""The BPF program that sees every process start, fork and end; `build` compiles it, once for every kernel with BTF."""
