/* Stands before the calls of libc by which CPython changes files. */

#include "shim.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int path_of(int fd, char *path)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = '\0';
    return path[0] == '/';
}

/* 0, or the error number that the call is to fail with. Does not return from a deadly effect. */
static int error_of(const char *effect)
{
    if (!effect)
        return 0;
    if (strcmp(effect, "ENOSPC") == 0)
        return ENOSPC;
    if (strcmp(effect, "EIO") == 0)
        return EIO;
    if (strcmp(effect, "POWER") == 0)
        forget(-1, 1);
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static int error_at(const char *call, const char *path)
{
    return error_of(effect_on(call, path));
}

static int error_in(const char *call, int fd)
{
    char path[PATH_MAX];
    return path_of(fd, path) ? error_at(call, path) : 0;
}

static int failed(int error)
{
    errno = error;
    return -1;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    char path[PATH_MAX];
    const char *effect = path_of(fd, path) ? effect_on("write", path) : NULL;
    int dies = effect && strcmp(effect, "ENOSPC") != 0 && strcmp(effect, "EIO") != 0;
    if (effect && !dies)
        return failed(error_of(effect));
    ssize_t done = syscall(SYS_pwrite64, fd, data, dies ? size / 2 : size, offset);
    if (done > 0)
        written(fd, offset, offset + done);
    if (dies)
        error_of(effect);
    return done;
}

ssize_t write(int fd, const void *data, size_t size)
{
    struct stat file;
    if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode) || fcntl(fd, F_GETFL) & O_APPEND)
        return syscall(SYS_write, fd, data, size);
    off_t offset = lseek(fd, 0, SEEK_CUR);
    ssize_t done = pwrite64(fd, data, size, offset);
    if (done > 0)
        lseek(fd, offset + done, SEEK_SET);
    return done;
}

static int sync_with(int (*real)(int), int fd)
{
    int error = error_in("sync", fd);
    if (error) {
        forget(fd, 1);
        return failed(error);
    }
    int result = real(fd);
    if (result == 0)
        forget(fd, 0);
    return result;
}

int fsync(int fd) { return sync_with(REAL(fsync), fd); }

int fdatasync(int fd) { return sync_with(REAL(fdatasync), fd); }

int ftruncate64(int fd, off64_t size)
{
    int error = error_in("truncate", fd);
    return error ? failed(error) : REAL(ftruncate64)(fd, size);
}

int posix_fallocate64(int fd, off64_t offset, off64_t size)
{
    int error = error_in("allocate", fd);
    return error ? error : REAL(posix_fallocate64)(fd, offset, size);
}

int open64(const char *path, int flags, ...)
{
    mode_t mode = 0;
    int error = 0;
    if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
    }
    if (flags & O_CREAT && access(path, F_OK) != 0)
        error = error_at("create", path);
    return error ? failed(error) : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int mkdir(const char *path, mode_t mode)
{
    int error = access(path, F_OK) != 0 ? error_at("create", path) : 0;
    return error ? failed(error) : REAL(mkdir)(path, mode);
}

int rename(const char *from, const char *to)
{
    int error = error_at("rename", to);
    return error ? failed(error) : REAL(rename)(from, to);
}

int unlink(const char *path)
{
    int error = error_at("remove", path);
    return error ? failed(error) : REAL(unlink)(path);
}

int statvfs64(const char *path, struct statvfs64 *found)
{
    int result = REAL(statvfs64)(path, found);
    const char *told = effect_on("free", path);
    if (result == 0 && told)
        found->f_bavail = strtoull(told, NULL, 10) / found->f_frsize;
    return result;
}
