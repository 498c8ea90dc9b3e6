/* Stands between a process and the C library: counts the calls on files below one folder, and spoils one of them.
 *
 * cc -shared -fPIC -O1 -o faults.so faults.c -ldl; loaded with LD_PRELOAD, told what to do by fault_arm().
 * Every function that a file system can answer with an error is here under all the names programs know it by.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define FILES 4096
#define CALLS 65536
enum { OFF, ERROR, SHORT, KILL };

static char root[PATH_MAX];
static size_t root_length;
static int paused = 1, mode = OFF, error_number, lasting;
static long at, count, hits;
static const char *spoilt = "";                 /* what lasts, does so for calls of one kind */
static char *paths[FILES];                      /* of open files below the root */
static struct { const char *call; char path[64]; } calls[CALLS];

/* -- asked and told from outside */

void fault_arm(const char *folder, long number, int what, int error, int lasts) {
    strncpy(root, folder, sizeof root - 1);
    root_length = strlen(root);
    at = number; mode = what; error_number = error; lasting = lasts; count = hits = 0;
}
void fault_pause(int on) { paused = on; }
void fault_heal(void) { mode = OFF; }
long fault_count(void) { return count; }
long fault_hits(void) { return hits; }
const char *fault_call(long number) { return number < CALLS ? calls[number].call : "?"; }
const char *fault_path(long number) { return number < CALLS ? calls[number].path : "?"; }

/* -- what each call asks */

/* Says whether this call on a watched path is to fail (1), to be short (2), or to be left alone. */
static int meets(const char *call, const char *path) {
    if (paused || !path || !root_length || strncmp(path, root, root_length)) return 0;
    if (count < CALLS) {
        calls[count].call = call;
        strncpy(calls[count].path, path + root_length, sizeof calls[count].path - 1);
    }
    long number = count++;
    if (mode == OFF || number < at) return 0;
    if (number == at) spoilt = call;
    else if (!lasting || strcmp(spoilt, call)) return 0;
    hits++;
    if (mode == KILL) { kill(getpid(), SIGKILL); for (;;) pause(); }
    if (mode == SHORT) return 2;
    errno = error_number;
    return 1;
}
static const char *name_of(int fd) { return fd >= 0 && fd < FILES ? paths[fd] : NULL; }
static int opened(int fd, const char *path) {
    if (fd >= 0 && fd < FILES) {
        free(paths[fd]);
        paths[fd] = root_length && !strncmp(path, root, root_length) ? strdup(path) : NULL;
    }
    return fd;
}

#define NEXT(name) \
    static __typeof__(&name) next; \
    if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define OPENER(name) \
int name(const char *path, int flags, ...) { \
    va_list more; va_start(more, flags); mode_t rights = va_arg(more, mode_t); va_end(more); \
    NEXT(name); \
    return meets("open", path) ? -1 : opened(next(path, flags, rights), path); \
}
OPENER(open)
OPENER(open64)
#define OPENER_AT(name) \
int name(int folder, const char *path, int flags, ...) { \
    va_list more; va_start(more, flags); mode_t rights = va_arg(more, mode_t); va_end(more); \
    NEXT(name); \
    return meets("open", path) ? -1 : opened(next(folder, path, flags, rights), path); \
}
OPENER_AT(openat)
OPENER_AT(openat64)
int __open64_2(const char *path, int flags) { return open64(path, flags, 0); }
int __open_2(const char *path, int flags) { return open(path, flags, 0); }

int close(int fd) {
    NEXT(close);
    if (fd >= 0 && fd < FILES && paths[fd]) { free(paths[fd]); paths[fd] = NULL; }
    return next(fd);
}
static size_t less(size_t size) { return size > 1 ? size / 2 : size; }

ssize_t read(int fd, void *to, size_t size) {
    NEXT(read);
    int bad = meets("read", name_of(fd));
    return bad == 1 ? -1 : next(fd, to, bad ? less(size) : size);
}
ssize_t __read_chk(int fd, void *to, size_t size, size_t room) { (void)room; return read(fd, to, size); }
#define READER(name, offset_t) \
ssize_t name(int fd, void *to, size_t size, offset_t offset) { \
    NEXT(name); \
    int bad = meets("pread", name_of(fd)); \
    return bad == 1 ? -1 : next(fd, to, bad ? less(size) : size, offset); \
}
READER(pread, off_t)
READER(pread64, off64_t)
ssize_t __pread64_chk(int fd, void *to, size_t size, off64_t o, size_t room) { (void)room; return pread64(fd, to, size, o); }
ssize_t __pread_chk(int fd, void *to, size_t size, off_t o, size_t room) { (void)room; return pread(fd, to, size, o); }

ssize_t write(int fd, const void *from, size_t size) {
    NEXT(write);
    int bad = meets("write", name_of(fd));
    return bad == 1 ? -1 : next(fd, from, bad ? less(size) : size);
}
#define WRITER(name, offset_t) \
ssize_t name(int fd, const void *from, size_t size, offset_t offset) { \
    NEXT(name); \
    int bad = meets("pwrite", name_of(fd)); \
    return bad == 1 ? -1 : next(fd, from, bad ? less(size) : size, offset); \
}
WRITER(pwrite, off_t)
WRITER(pwrite64, off64_t)

#define ON_FD(kind, name, parameters, arguments) \
int name parameters { NEXT(name); return meets(kind, name_of(fd)) ? -1 : next arguments; }
ON_FD("fsync", fsync, (int fd), (fd))
ON_FD("fdatasync", fdatasync, (int fd), (fd))
ON_FD("ftruncate", ftruncate, (int fd, off_t size), (fd, size))
ON_FD("ftruncate", ftruncate64, (int fd, off64_t size), (fd, size))
ON_FD("fstat", fstat, (int fd, struct stat *to), (fd, to))
ON_FD("fstat", fstat64, (int fd, struct stat64 *to), (fd, to))
ON_FD("fchmod", fchmod, (int fd, mode_t rights), (fd, rights))
ON_FD("fchown", fchown, (int fd, uid_t owner, gid_t group), (fd, owner, group))
ON_FD("flock", flock, (int fd, int what), (fd, what))
off_t lseek(int fd, off_t o, int w) { NEXT(lseek); return meets("lseek", name_of(fd)) ? -1 : next(fd, o, w); }
off64_t lseek64(int fd, off64_t o, int w) { NEXT(lseek64); return meets("lseek", name_of(fd)) ? -1 : next(fd, o, w); }

#define ON_PATH(kind, name, parameters, arguments) \
int name parameters { NEXT(name); return meets(kind, path) ? -1 : next arguments; }
ON_PATH("stat", stat, (const char *path, struct stat *to), (path, to))
ON_PATH("stat", stat64, (const char *path, struct stat64 *to), (path, to))
ON_PATH("lstat", lstat, (const char *path, struct stat *to), (path, to))
ON_PATH("lstat", lstat64, (const char *path, struct stat64 *to), (path, to))
ON_PATH("stat", fstatat, (int d, const char *path, struct stat *to, int f), (d, path, to, f))
ON_PATH("stat", fstatat64, (int d, const char *path, struct stat64 *to, int f), (d, path, to, f))
ON_PATH("chmod", chmod, (const char *path, mode_t rights), (path, rights))
ON_PATH("mkdir", mkdir, (const char *path, mode_t rights), (path, rights))
ON_PATH("unlink", unlink, (const char *path), (path))
ON_PATH("access", access, (const char *path, int how), (path, how))
ON_PATH("rename", rename, (const char *path, const char *to), (path, to))

/* the names that programs built against an older library know stat by */
int __xstat(int v, const char *path, struct stat *to) { (void)v; return stat(path, to); }
int __xstat64(int v, const char *path, struct stat64 *to) { (void)v; return stat64(path, to); }
int __lxstat(int v, const char *path, struct stat *to) { (void)v; return lstat(path, to); }
int __lxstat64(int v, const char *path, struct stat64 *to) { (void)v; return lstat64(path, to); }
int __fxstat(int v, int fd, struct stat *to) { (void)v; return fstat(fd, to); }
int __fxstat64(int v, int fd, struct stat64 *to) { (void)v; return fstat64(fd, to); }

#define CONTROL(name) \
int name(int fd, int what, ...) { \
    va_list more; va_start(more, what); void *argument = va_arg(more, void *); va_end(more); \
    NEXT(name); \
    int locks = (what == F_SETLK || what == F_OFD_SETLK) && ((struct flock *)argument)->l_type != F_UNLCK; \
    if (locks && meets("lock", name_of(fd))) return -1; \
    return next(fd, what, argument); \
}
CONTROL(fcntl)
CONTROL(fcntl64)

#define MAPPER(name, offset_t) \
void *name(void *where, size_t size, int rights, int flags, int fd, offset_t offset) { \
    NEXT(name); \
    return meets("mmap", name_of(fd)) ? MAP_FAILED : next(where, size, rights, flags, fd, offset); \
}
MAPPER(mmap, off_t)
MAPPER(mmap64, off64_t)

DIR *opendir(const char *path) { NEXT(opendir); return meets("opendir", path) ? NULL : next(path); }
