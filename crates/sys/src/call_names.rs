//! System calls by name: all that the kernel's headers have for x86_64 and aarch64. Admins name them (`--seccomp`), and so do our
//! own lists.

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// A system call of this architecture, by its number.
    Here(i64),
    /// One that only another architecture has.
    Elsewhere,
}

/// The system call of that name; None where no architecture has one.
pub(crate) fn find(name: &str) -> Option<Known> {
    let of = |table: &[(&str, i64)]| {
        table.iter().find(|(known, _)| known.strip_prefix("SYS_") == Some(name)).map(|(_, number)| *number)
    };
    if let Some(number) = of(EVERYWHERE).or_else(|| of(X86_64)) {
        return Some(Known::Here(number));
    }
    if let Some((_, x86_64, later)) = OTHERS.iter().find(|(known, ..)| *known == name) {
        let number = if cfg!(target_arch = "x86_64") { x86_64 } else { later };
        return Some(number.map_or(Known::Elsewhere, Known::Here));
    }
    X86_64_NAMES.contains(&name).then_some(Known::Elsewhere)
}

macro_rules! numbers {
    ($($constant:ident)*) => { &[$((stringify!($constant), libc::$constant)),*] };
}

macro_rules! of_x86_64 {
    ($($constant:ident)*) => {
        /// Old system calls that x86_64 has and newer architectures lack.
        #[cfg(target_arch = "x86_64")]
        const X86_64: &[(&str, i64)] = numbers!($($constant)*);
        #[cfg(not(target_arch = "x86_64"))]
        const X86_64: &[(&str, i64)] = &[];

        /// Their names, known on all architectures.
        const X86_64_NAMES: &[&str] = &[$(without_prefix(stringify!($constant))),*];
    };
}

const fn without_prefix(constant: &'static str) -> &'static str {
    constant.split_at("SYS_".len()).1
}

/// What both architectures have.
const EVERYWHERE: &[(&str, i64)] = numbers! {
    SYS_accept SYS_accept4 SYS_acct SYS_add_key SYS_adjtimex SYS_bind SYS_bpf SYS_brk SYS_capget SYS_capset SYS_chdir SYS_chroot
    SYS_clock_adjtime SYS_clock_getres SYS_clock_gettime SYS_clock_nanosleep SYS_clock_settime SYS_clone SYS_clone3 SYS_close
    SYS_close_range SYS_connect SYS_copy_file_range SYS_delete_module SYS_dup SYS_dup3 SYS_epoll_create1 SYS_epoll_ctl
    SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2 SYS_execve SYS_execveat SYS_exit SYS_exit_group SYS_faccessat SYS_faccessat2
    SYS_fadvise64 SYS_fallocate SYS_fanotify_init SYS_fanotify_mark SYS_fchdir SYS_fchmod SYS_fchmodat SYS_fchown SYS_fchownat
    SYS_fcntl SYS_fdatasync SYS_fgetxattr SYS_finit_module SYS_flistxattr SYS_flock SYS_fremovexattr SYS_fsconfig SYS_fsetxattr
    SYS_fsmount SYS_fsopen SYS_fspick SYS_fstat SYS_fstatfs SYS_fsync SYS_ftruncate SYS_futex SYS_futex_waitv SYS_get_mempolicy
    SYS_get_robust_list SYS_getcpu SYS_getcwd SYS_getdents64 SYS_getegid SYS_geteuid SYS_getgid SYS_getgroups SYS_getitimer
    SYS_getpeername SYS_getpgid SYS_getpid SYS_getppid SYS_getpriority SYS_getrandom SYS_getresgid SYS_getresuid SYS_getrlimit
    SYS_getrusage SYS_getsid SYS_getsockname SYS_getsockopt SYS_gettid SYS_gettimeofday SYS_getuid SYS_getxattr SYS_init_module
    SYS_inotify_add_watch SYS_inotify_init1 SYS_inotify_rm_watch SYS_io_cancel SYS_io_destroy SYS_io_getevents SYS_io_setup
    SYS_io_submit SYS_io_uring_enter SYS_io_uring_register SYS_io_uring_setup SYS_ioctl SYS_ioprio_get SYS_ioprio_set SYS_kcmp
    SYS_kexec_load SYS_keyctl SYS_kill SYS_landlock_add_rule SYS_landlock_create_ruleset SYS_landlock_restrict_self SYS_lgetxattr
    SYS_linkat SYS_listen SYS_listxattr SYS_llistxattr SYS_lookup_dcookie SYS_lremovexattr SYS_lseek SYS_lsetxattr SYS_madvise
    SYS_mbind SYS_membarrier SYS_memfd_create SYS_memfd_secret SYS_migrate_pages SYS_mincore SYS_mkdirat SYS_mknodat SYS_mlock
    SYS_mlock2 SYS_mlockall SYS_mmap SYS_mount SYS_mount_setattr SYS_move_mount SYS_move_pages SYS_mprotect SYS_mq_getsetattr
    SYS_mq_notify SYS_mq_open SYS_mq_timedreceive SYS_mq_timedsend SYS_mq_unlink SYS_mremap SYS_msgctl SYS_msgget SYS_msgrcv
    SYS_msgsnd SYS_msync SYS_munlock SYS_munlockall SYS_munmap SYS_name_to_handle_at SYS_nanosleep SYS_newfstatat SYS_nfsservctl
    SYS_open_by_handle_at SYS_open_tree SYS_openat SYS_openat2 SYS_perf_event_open SYS_personality SYS_pidfd_getfd SYS_pidfd_open
    SYS_pidfd_send_signal SYS_pipe2 SYS_pivot_root SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_ppoll SYS_prctl SYS_pread64
    SYS_preadv SYS_preadv2 SYS_prlimit64 SYS_process_madvise SYS_process_mrelease SYS_process_vm_readv SYS_process_vm_writev
    SYS_pselect6 SYS_ptrace SYS_pwrite64 SYS_pwritev SYS_pwritev2 SYS_quotactl SYS_quotactl_fd SYS_read SYS_readahead
    SYS_readlinkat SYS_readv SYS_reboot SYS_recvfrom SYS_recvmmsg SYS_recvmsg SYS_remap_file_pages SYS_removexattr SYS_renameat
    SYS_renameat2 SYS_request_key SYS_restart_syscall SYS_rseq SYS_rt_sigaction SYS_rt_sigpending SYS_rt_sigprocmask
    SYS_rt_sigqueueinfo SYS_rt_sigreturn SYS_rt_sigsuspend SYS_rt_sigtimedwait SYS_rt_tgsigqueueinfo SYS_sched_get_priority_max
    SYS_sched_get_priority_min SYS_sched_getaffinity SYS_sched_getattr SYS_sched_getparam SYS_sched_getscheduler
    SYS_sched_rr_get_interval SYS_sched_setaffinity SYS_sched_setattr SYS_sched_setparam SYS_sched_setscheduler SYS_sched_yield
    SYS_seccomp SYS_semctl SYS_semget SYS_semop SYS_semtimedop SYS_sendfile SYS_sendmmsg SYS_sendmsg SYS_sendto SYS_set_mempolicy
    SYS_set_mempolicy_home_node SYS_set_robust_list SYS_set_tid_address SYS_setdomainname SYS_setfsgid SYS_setfsuid SYS_setgid
    SYS_setgroups SYS_sethostname SYS_setitimer SYS_setns SYS_setpgid SYS_setpriority SYS_setregid SYS_setresgid SYS_setresuid
    SYS_setreuid SYS_setrlimit SYS_setsid SYS_setsockopt SYS_settimeofday SYS_setuid SYS_setxattr SYS_shmat SYS_shmctl SYS_shmdt
    SYS_shmget SYS_shutdown SYS_sigaltstack SYS_signalfd4 SYS_socket SYS_socketpair SYS_splice SYS_statfs SYS_statx SYS_swapoff
    SYS_swapon SYS_symlinkat SYS_sync SYS_sync_file_range SYS_syncfs SYS_sysinfo SYS_syslog SYS_tee SYS_tgkill SYS_timer_create
    SYS_timer_delete SYS_timer_getoverrun SYS_timer_gettime SYS_timer_settime SYS_timerfd_create SYS_timerfd_gettime
    SYS_timerfd_settime SYS_times SYS_tkill SYS_truncate SYS_umask SYS_umount2 SYS_uname SYS_unlinkat SYS_unshare SYS_userfaultfd
    SYS_utimensat SYS_vhangup SYS_vmsplice SYS_wait4 SYS_waitid SYS_write SYS_writev
};

of_x86_64! {
    SYS__sysctl SYS_access SYS_afs_syscall SYS_alarm SYS_arch_prctl SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_epoll_create
    SYS_epoll_ctl_old SYS_epoll_wait SYS_epoll_wait_old SYS_eventfd SYS_fork SYS_futimesat SYS_get_thread_area SYS_getdents
    SYS_getpgrp SYS_getpmsg SYS_inotify_init SYS_ioperm SYS_iopl SYS_lchown SYS_link SYS_lstat SYS_mkdir SYS_mknod SYS_modify_ldt
    SYS_open SYS_pause SYS_pipe SYS_poll SYS_putpmsg SYS_readlink SYS_rename SYS_rmdir SYS_security SYS_select SYS_set_thread_area
    SYS_signalfd SYS_stat SYS_symlink SYS_sysfs SYS_time SYS_tuxcall SYS_unlink SYS_uselib SYS_ustat SYS_utime SYS_utimes
    SYS_vfork SYS_vserver
}

/// What the libc crate hasn't for every target: the number on x86_64, and the one on aarch64 and whoever came later.
const OTHERS: &[(&str, Option<i64>, Option<i64>)] = &[
    ("create_module", Some(174), None),
    ("get_kernel_syms", Some(177), None),
    ("query_module", Some(178), None),
    ("uretprobe", Some(335), None),
    ("kexec_file_load", Some(320), Some(294)),
    ("io_pgetevents", Some(333), Some(292)),
    ("cachestat", Some(451), Some(451)),
    ("fchmodat2", Some(452), Some(452)),
    ("map_shadow_stack", Some(453), Some(453)),
    ("futex_wake", Some(454), Some(454)),
    ("futex_wait", Some(455), Some(455)),
    ("futex_requeue", Some(456), Some(456)),
    ("statmount", Some(457), Some(457)),
    ("listmount", Some(458), Some(458)),
    ("lsm_get_self_attr", Some(459), Some(459)),
    ("lsm_set_self_attr", Some(460), Some(460)),
    ("lsm_list_modules", Some(461), Some(461)),
    ("mseal", Some(462), Some(462)),
    ("setxattrat", Some(463), Some(463)),
    ("getxattrat", Some(464), Some(464)),
    ("listxattrat", Some(465), Some(465)),
    ("removexattrat", Some(466), Some(466)),
    ("open_tree_attr", Some(467), Some(467)),
    ("file_getattr", Some(468), Some(468)),
    ("file_setattr", Some(469), Some(469)),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// `NAME NUMBER` of each `#define` with that beginning.
    fn defined(file: &str, beginning: &str) -> Vec<(String, i64)> {
        let text = std::fs::read_to_string(file).unwrap();
        let lines = text.lines().filter_map(|line| {
            let mut words = line.strip_prefix("#define ")?.strip_prefix(beginning)?.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
        });
        lines.collect()
    }

    #[test]
    fn issue_11_every_system_call_of_the_kernels_headers_has_a_name_and_its_number() {
        let here = defined("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "__NR_");
        assert!(here.len() > 350, "{}", here.len());
        for (name, number) in here {
            let expected = if cfg!(target_arch = "x86_64") { Known::Here(number) } else { Known::Elsewhere };
            assert_eq!(find(&name), Some(expected), "{name}");
        }
        // The list that aarch64 has its own from, and 32-bit systems some more.
        for (name, number) in defined("/usr/include/asm-generic/unistd.h", "__NR_") {
            let other = ["arch_specific_syscall", "syscalls", "sync_file_range2"].contains(&name.as_str());
            assert!(other || (403..424).contains(&number) || find(&name).is_some(), "{name} {number}");
        }
    }
}
