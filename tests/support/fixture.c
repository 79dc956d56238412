/*
 * The program that the tests run as a service, and (as `under`) the one that puts a test into awkward circumstances.
 *
 * It is C, so that it says what exec gave it: Rust's runtime ignores SIGPIPE and opens closed standard streams before
 * main. A linker for Rust is a C compiler on every supported machine, so it needs nothing that `cargo test` does not.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void say(const char *text) {
    char line[256];
    int length = snprintf(line, sizeof line, "%s %d\n", text, (int)getpid());
    if (write(1, line, length) != length) _exit(90);
}

static void wait_for_ever(void) {
    for (;;) pause();
}

static void answer(int signal) {
    (void)signal;
    say("alive");
    _exit(0);
}

static void report_ids(void) {
    uid_t uid, euid, suid;
    gid_t gid, egid, sgid, groups[64];
    getresuid(&uid, &euid, &suid);
    getresgid(&gid, &egid, &sgid);
    printf("uids %d %d %d\ngids %d %d %d\ngroups", uid, euid, suid, gid, egid, sgid);
    int count = getgroups(64, groups);
    for (int i = 0; i < count; i++) printf(" %d", groups[i]);
    printf("\n");
}

static void report_status(void) {
    static const char *const keys[] = {"SigBlk", "SigIgn", "SigCgt", "SigPnd", "CapEff"};
    char line[512];
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            if (!strncmp(line, keys[i], strlen(keys[i])) && line[strlen(keys[i])] == ':')
                printf("%s %llx\n", keys[i], strtoull(line + strlen(keys[i]) + 1, NULL, 16));
    if (status) fclose(status);
}

static void report_descriptors(void) {
    for (int fd = 0; fd < 65536; fd++) {
        char link[64], target[4096];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, target, sizeof target - 1);
        if (length < 0) continue;
        target[length] = 0;
        printf("fd %d %s flags %o\n", fd, target, fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND));
    }
}

static int report(void) {
    char cwd[4096];
    struct rlimit files;
    mode_t mask = umask(0);
    report_status();
    report_descriptors();
    report_ids();
    getrlimit(RLIMIT_NOFILE, &files);
    printf("nofile %llu %llu\n", (unsigned long long)files.rlim_cur, (unsigned long long)files.rlim_max);
    printf("umask %03o\ncwd %s\n", mask, getcwd(cwd, sizeof cwd) ? cwd : "?");
    printf("leader %d %d\n", getsid(0) == getpid(), getpgrp() == getpid());
    for (char **variable = environ; *variable; variable++) printf("env %s\n", *variable);
    printf("end\n");
    return fflush(stdout) == 0 ? 0 : 91;
}

/* fork group|session|orphan: a grandchild that answers USR1; the main process ends when it is told to. */
static int fork_one(const char *kind) {
    int ready[2];
    char byte;
    int orphan = !strcmp(kind, "orphan");
    if (pipe(ready)) return 92;
    pid_t pid = fork();
    if (pid == 0) {
        if (orphan || !strcmp(kind, "session")) setsid();
        if (orphan && fork()) _exit(0);
        signal(SIGUSR1, answer);
        say("grandchild");
        if (write(ready[1], "x", 1) != 1) _exit(93);
        wait_for_ever();
    }
    if (pid < 0 || read(ready[0], &byte, 1) != 1) return 94;
    if (orphan) waitpid(pid, NULL, 0);
    return 0;
}

/* tree: one grandchild of each kind. Their command lines say `kid`: from birth, so that none is ever taken for the main one. */
static int fork_all(char *verb) {
    int failed;
    strcpy(verb, "kid");
    failed = fork_one("group");
    if (!failed) failed = fork_one("session");
    if (!failed) failed = fork_one("orphan");
    strcpy(verb, "tree");
    return failed;
}

static int flood(size_t bytes) {
    static char block[65536];
    memset(block, 'x', sizeof block);
    while (bytes > 0) {
        ssize_t written = write(1, block, bytes < sizeof block ? bytes : sizeof block);
        if (written < 0) return 95;
        bytes -= written;
    }
    return 0;
}

/* under [ignore N] [block N] [open FD] [uid N] -- PROGRAM ARGS...: executes a program in such circumstances. */
static int under(char **args) {
    for (; *args && strcmp(*args, "--"); args += 2) {
        int value = atoi(args[1]);
        sigset_t set;
        sigemptyset(&set);
        if (!strcmp(*args, "ignore")) {
            signal(value, SIG_IGN);
        } else if (!strcmp(*args, "block")) {
            sigaddset(&set, value);
            sigprocmask(SIG_BLOCK, &set, NULL);
        } else if (!strcmp(*args, "open")) {
            int fd = open("/dev/zero", O_RDONLY);
            if (fd < 0 || dup2(fd, value) < 0) return 96;
        } else if (!strcmp(*args, "uid")) {
            if (setgroups(0, NULL) || setresgid(value, value, value) || setresuid(value, value, value)) return 97;
        } else {
            return 98;
        }
    }
    if (*args) execvp(args[1], args + 1);
    return 99;
}

int main(int argc, char **argv) {
    const char *verb = argc > 1 ? argv[1] : "";
    const char *value = argc > 2 ? argv[2] : "";
    if (!strcmp(verb, "exit")) return atoi(value);
    if (!strcmp(verb, "die")) raise(atoi(value));
    if (!strcmp(verb, "report")) return report();
    if (!strcmp(verb, "under")) return under(argv + 2);
    if (!strcmp(verb, "flood")) return flood(strtoull(value, NULL, 10));
    if (!strcmp(verb, "gush") && flood(strtoull(value, NULL, 10))) return 87;
    if (!strcmp(verb, "tree") && fork_all(argv[1])) return 86;
    if (!strcmp(verb, "stderr")) return write(1, "out\n", 4) == 4 && write(2, "err\n", 4) == 4 ? 0 : 89;
    if (!strcmp(verb, "become-root")) {
        /* Nobody else may signal it, so it ends by itself once its output has no reader. */
        if (setresuid(0, 0, 0)) return 88;
        for (say("ready");; usleep(10000)) say("waiting");
    }
    if (!strcmp(verb, "ignore")) signal(atoi(value), SIG_IGN);
    if (!strcmp(verb, "fork")) {
        int failed = fork_one(value);
        if (failed || (argc > 3 && !strcmp(argv[3], "exit"))) return failed;
    }
    say("ready");
    wait_for_ever();
}
