/* Remembers what of each file is written and not synced, to take it away. */

#include "shim.h"
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_RANGES 256

/* `fd`: a descriptor of our own, so that the range can be reached when the program has closed its. */
struct range {
    dev_t device;
    ino_t inode;
    int fd;
    off_t from, to;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct range ranges[MAX_RANGES];
static int count;

void written(int fd, off_t from, off_t to)
{
    char path[PATH_MAX];
    struct stat file;
    if (from >= to || fstat(fd, &file) != 0 || !path_of(fd, path) || !is_ours(path))
        return;
    pthread_mutex_lock(&lock);
    int i = 0;
    while (i < count &&
           !(ranges[i].device == file.st_dev && ranges[i].inode == file.st_ino && ranges[i].to == from))
        i++;
    if (i == MAX_RANGES)
        abort();
    if (i == count)
        ranges[count++] = (struct range){file.st_dev, file.st_ino, fcntl(fd, F_DUPFD_CLOEXEC, 3), from, to};
    ranges[i].to = to;
    pthread_mutex_unlock(&lock);
}

static void lose(struct range *range)
{
    static const char zeros[65536];
    while (range->from < range->to) {
        size_t left = (size_t)(range->to - range->from);
        ssize_t done =
            syscall(SYS_pwrite64, range->fd, zeros, left < sizeof zeros ? left : sizeof zeros, range->from);
        if (done <= 0)
            abort();
        range->from += done;
    }
}

void forget(int fd, int lost)
{
    struct stat file = {0};
    if (fd >= 0 && fstat(fd, &file) != 0)
        return;
    pthread_mutex_lock(&lock);
    for (int i = count - 1; i >= 0; i--) {
        if (fd >= 0 && (ranges[i].device != file.st_dev || ranges[i].inode != file.st_ino))
            continue;
        if (lost)
            lose(&ranges[i]);
        close(ranges[i].fd);
        ranges[i] = ranges[--count];
    }
    pthread_mutex_unlock(&lock);
}
