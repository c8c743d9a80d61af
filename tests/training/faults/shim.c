/* Makes calls of the C library fail, kill or stop the process, or tell another time.

   Loaded by LD_PRELOAD; what it does is told by environment variables, which the Python beside
   this file writes, or by a file with the same names that is read anew in every fork. A call counts
   if its name is asked for and its file lies below a folder. The number-th one that counts in a
   process does not happen: an error takes its place, or a signal comes just before it. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static int ready;
static char calls[256];          /* ",rename,fsync," */
static char below[PATH_MAX];     /* without a slash at its end */
static long number;              /* 0: count only */
static int lasting;              /* also all calls after the number-th */
static int error_number;         /* what errno becomes; 0: a signal */
static int signal_number;
static int note = -1;            /* one line for each call that counts */
static const int64_t *offset;    /* nanoseconds to add to the wall clock */
static atomic_long counted;

/* Calls of other threads may be under way when the settings are read anew. A call looks at them
   with the lock for readers, which a signal handler that writes may take once more; who reads them
   anew is not interrupted. */
static pthread_rwlock_t settings = PTHREAD_RWLOCK_INITIALIZER;
static sigset_t signals_before; /* of the thread that has the lock for writers */

static void lock_settings(void) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_rwlock_wrlock(&settings);
    signals_before = before;
}

static void unlock_settings(void) {
    sigset_t before = signals_before;
    pthread_rwlock_unlock(&settings);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) abort();
    return found;
}

static int error_named(const char *name) {
    if (strcmp(name, "EIO") == 0) return EIO;
    if (strcmp(name, "ENOSPC") == 0) return ENOSPC;
    if (strcmp(name, "EROFS") == 0) return EROFS;
    if (strcmp(name, "EDQUOT") == 0) return EDQUOT;
    if (strcmp(name, "EACCES") == 0) return EACCES;
    return 0;
}

/* What a setting is: by the file, if there is one, else by the environment; NULL: nothing. */
static const char *setting(const char *name) {
    static char found[PATH_MAX];
    const char *path = getenv("KITFOX_FAULT_FILE");
    if (path == NULL) return getenv(name);
    char text[3 * PATH_MAX];
    int file = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    ssize_t size = file < 0 ? -1 : syscall(SYS_read, file, text, sizeof text - 1);
    if (file >= 0) syscall(SYS_close, file);
    if (size < 0) return NULL;
    text[size] = 0;
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n")) != NULL) {
        size_t length = strlen(name);
        if (strncmp(line, name, length) == 0 && line[length] == '=') {
            snprintf(found, sizeof found, "%s", line + length + 1);
            return found;
        }
    }
    return NULL;
}

static void read_settings(void) {
    const char *text = setting("KITFOX_FAULT_CALLS");
    calls[0] = 0;
    if (text != NULL) snprintf(calls, sizeof calls, ",%s,", text);
    text = setting("KITFOX_FAULT_BELOW");
    below[0] = 0;
    if (text != NULL) snprintf(below, sizeof below, "%s", text);
    text = setting("KITFOX_FAULT_NUMBER");
    number = text == NULL ? 0 : atol(text);
    lasting = setting("KITFOX_FAULT_LASTING") != NULL;
    text = setting("KITFOX_FAULT_ACTION");
    error_number = signal_number = 0;
    if (text != NULL) {
        error_number = error_named(text);
        if (strcmp(text, "kill") == 0) signal_number = SIGKILL;
        if (strcmp(text, "stop") == 0) signal_number = SIGSTOP;
    }
    text = setting("KITFOX_FAULT_NOTE");
    if (note >= 0) syscall(SYS_close, note);
    note = -1;
    if (text != NULL) {
        int low = syscall(SYS_openat, AT_FDCWD, text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        note = fcntl(low, F_DUPFD_CLOEXEC, 900); /* out of the way of what expects low numbers */
        syscall(SYS_close, low);
    }
    counted = 0;
}

static void read_settings_again(void) {
    if (getenv("KITFOX_FAULT_FILE") != NULL) read_settings();
}

/* For a process that changes its own faults: what the file says holds from now on. */
void kitfox_faults_read(void) {
    lock_settings();
    read_settings_again();
    unlock_settings();
}

static void after_fork_in_child(void) {
    pthread_rwlock_init(&settings, NULL); /* its owner has another number here */
    read_settings_again();
    pthread_sigmask(SIG_SETMASK, &signals_before, NULL);
}

__attribute__((constructor)) static void begin(void) {
    read_settings();
    const char *text = getenv("KITFOX_FAULT_CLOCK");
    if (text != NULL) {
        int file = syscall(SYS_openat, AT_FDCWD, text, O_RDONLY | O_CLOEXEC, 0);
        void *page = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
        if (page != MAP_FAILED) offset = page;
        syscall(SYS_close, file);
    }
    pthread_atfork(lock_settings, unlock_settings, after_fork_in_child);
    ready = 1;
}

/* The path that a call is about: `name` as seen from the folder `at`, or the file behind `at`. */
static void find_path(char *path, int at, const char *name) {
    char link[64];
    ssize_t length = 0;
    if (name == NULL || name[0] != '/') {
        if (at == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
        if (length < 0) length = 0;
    }
    path[length] = 0;
    if (name != NULL)
        snprintf(path + length, PATH_MAX - length, "%s%s", name[0] == '/' ? "" : "/", name);
}

/* What is to happen to a call: an error, or the negative number of a signal before it; 0: nothing. */
static int fate(const char *call, int at, const char *name) {
    if (calls[0] == 0) return 0;
    char wanted[64], path[PATH_MAX];
    snprintf(wanted, sizeof wanted, ",%s,", call);
    if (strstr(calls, wanted) == NULL) return 0;
    int before = errno;
    find_path(path, at, name);
    size_t length = strlen(below);
    int counts = strncmp(path, below, length) == 0 && (path[length] == 0 || path[length] == '/');
    errno = before;
    if (!counts) return 0;
    long mine = atomic_fetch_add(&counted, 1) + 1;
    if (note >= 0) {
        char line[PATH_MAX + 64];
        int size = snprintf(line, sizeof line, "%d %s %s\n", getpid(), call, path);
        if (syscall(SYS_write, note, line, size) < 0) abort();
        errno = before;
    }
    if (number == 0 || (lasting ? mine < number : mine != number)) return 0;
    return signal_number != 0 ? -signal_number : error_number;
}

/* Whether the call must fail: errno is set then. */
static int fails(const char *call, int at, const char *name) {
    if (!ready) return 0;
    pthread_rwlock_rdlock(&settings);
    int what = fate(call, at, name);
    pthread_rwlock_unlock(&settings); /* first: a child that shares memory may be killed here */
    if (what < 0) {
        kill(getpid(), -what);
        return 0; /* after SIGCONT the call happens */
    }
    if (what > 0) errno = what;
    return what > 0;
}

#define OPEN(name)                                                     \
    int name(const char *path, int flags, ...) {                       \
        va_list rest;                                                  \
        va_start(rest, flags);                                         \
        mode_t mode = va_arg(rest, mode_t);                            \
        va_end(rest);                                                  \
        if (fails("open", AT_FDCWD, path)) return -1;                  \
        return REAL(name)(path, flags, mode);                          \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                   \
    int name(int at, const char *path, int flags, ...) {               \
        va_list rest;                                                  \
        va_start(rest, flags);                                         \
        mode_t mode = va_arg(rest, mode_t);                            \
        va_end(rest);                                                  \
        if (fails("open", at, path)) return -1;                        \
        return REAL(name)(at, path, flags, mode);                      \
    }
OPENAT(openat)
OPENAT(openat64)

DIR *opendir(const char *path) {
    if (fails("open", AT_FDCWD, path)) return NULL;
    return REAL(opendir)(path);
}

ssize_t read(int file, void *data, size_t size) {
    if (fails("read", file, NULL)) return -1;
    return REAL(read)(file, data, size);
}

#define PREAD(name, position_type)                                                 \
    ssize_t name(int file, void *data, size_t size, position_type position) {      \
        if (fails("read", file, NULL)) return -1;                                  \
        return REAL(name)(file, data, size, position);                             \
    }
PREAD(pread, off_t)
PREAD(pread64, off64_t)

ssize_t write(int file, const void *data, size_t size) {
    if (fails("write", file, NULL)) return -1;
    return REAL(write)(file, data, size);
}

#define PWRITE(name, position_type)                                                \
    ssize_t name(int file, const void *data, size_t size, position_type position) { \
        if (fails("write", file, NULL)) return -1;                                  \
        return REAL(name)(file, data, size, position);                              \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int file, const struct iovec *parts, int count) {
    if (fails("write", file, NULL)) return -1;
    return REAL(writev)(file, parts, count);
}

#define SENDFILE(name, position_type)                                        \
    ssize_t name(int to, int from, position_type *position, size_t size) {   \
        if (fails("write", to, NULL)) return -1;                             \
        return REAL(name)(to, from, position, size);                         \
    }
SENDFILE(sendfile, off_t)
SENDFILE(sendfile64, off64_t)

ssize_t copy_file_range(int from, off64_t *start, int to, off64_t *place, size_t size, unsigned flags) {
    if (fails("write", to, NULL)) return -1;
    return REAL(copy_file_range)(from, start, to, place, size, flags);
}

#define ALLOCATE(name, mode_type)                                            \
    int name(int file, mode_type first, off_t second, off_t third) {         \
        if (fails("write", file, NULL)) return -1;                           \
        return REAL(name)(file, first, second, third);                       \
    }
ALLOCATE(fallocate, int)
ALLOCATE(fallocate64, int)

int fsync(int file) {
    if (fails("fsync", file, NULL)) return -1;
    return REAL(fsync)(file);
}

int fdatasync(int file) {
    if (fails("fsync", file, NULL)) return -1;
    return REAL(fdatasync)(file);
}

#define TRUNCATE(name, length_type)                                          \
    int name(int file, length_type length) {                                 \
        if (fails("truncate", file, NULL)) return -1;                        \
        return REAL(name)(file, length);                                     \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

int rename(const char *from, const char *to) {
    if (fails("rename", AT_FDCWD, to)) return -1;
    return REAL(rename)(from, to);
}

int renameat(int from_at, const char *from, int to_at, const char *to) {
    if (fails("rename", to_at, to)) return -1;
    return REAL(renameat)(from_at, from, to_at, to);
}

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    if (fails("rename", to_at, to)) return -1;
    return REAL(renameat2)(from_at, from, to_at, to, flags);
}

int link(const char *from, const char *to) {
    if (fails("link", AT_FDCWD, to)) return -1;
    return REAL(link)(from, to);
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    if (fails("link", to_at, to)) return -1;
    return REAL(linkat)(from_at, from, to_at, to, flags);
}

int unlink(const char *path) {
    if (fails("unlink", AT_FDCWD, path)) return -1;
    return REAL(unlink)(path);
}

int unlinkat(int at, const char *path, int flags) {
    if (fails("unlink", at, path)) return -1;
    return REAL(unlinkat)(at, path, flags);
}

int rmdir(const char *path) {
    if (fails("unlink", AT_FDCWD, path)) return -1;
    return REAL(rmdir)(path);
}

int mkdir(const char *path, mode_t mode) {
    if (fails("mkdir", AT_FDCWD, path)) return -1;
    return REAL(mkdir)(path, mode);
}

int mkdirat(int at, const char *path, mode_t mode) {
    if (fails("mkdir", at, path)) return -1;
    return REAL(mkdirat)(at, path, mode);
}

/* -- the wall clock; the monotonic one goes on as it does */

int clock_gettime(clockid_t which, struct timespec *moment) {
    int result = REAL(clock_gettime)(which, moment);
    if (result == 0 && offset != NULL && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        int64_t all = moment->tv_sec * INT64_C(1000000000) + moment->tv_nsec + *offset;
        moment->tv_sec = all / 1000000000;
        moment->tv_nsec = all % 1000000000;
    }
    return result;
}

int gettimeofday(struct timeval *restrict moment, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    moment->tv_sec = now.tv_sec;
    moment->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *moment) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (moment != NULL) *moment = now.tv_sec;
    return now.tv_sec;
}
