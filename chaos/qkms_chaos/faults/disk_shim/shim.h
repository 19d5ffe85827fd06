/* Makes the disk fail for one process: preloaded (LD_PRELOAD), told by a file of rules. For glibc on 64 bits.

   It acts on the folder $QKMS_DISK and what is below it. Each line of the file $QKMS_DISK_RULES is a rule:

       <calls> <part of the path> <passes> <times> <effect>

   calls   names joined by commas, or "any" for all but the last:
           write, truncate, allocate, sync, create, rename, remove, free
   part    "$" at its end: the end of the path
   passes  so many calls that match go through first
   times   so many then have the effect; 0: all
   effect  ENOSPC, EIO  the call fails with it
           KILL         SIGKILL, with half of a write done
           POWER        SIGKILL, and what was written since a file's last sync is zeros
           a number     the free bytes that statvfs tells

   A sync that fails loses what it was to make durable: so does a kernel that drops dirty pages
   after a failed write-back. Counting starts anew when another file takes the place of the rules.
   Calls without an effect are appended to $QKMS_DISK_TRACE, if that is set, as "<call> <path>". */

#define _GNU_SOURCE
#include <sys/types.h>

#pragma GCC visibility push(hidden)

/* rules.c: whether `path` is $QKMS_DISK or below it, and the effect that is due for a call, or NULL. */
int is_ours(const char *path);
const char *effect_on(const char *call, const char *path);

/* platter.c: what of each file is written and not synced. `forget` a file's, or all of it with fd < 0:
   it is durable, or `lost`. */
void written(int fd, off_t from, off_t to);
void forget(int fd, int lost);

/* calls.c: the path of an open file into PATH_MAX bytes; 0 when it has none. */
int path_of(int fd, char *path);

#pragma GCC visibility pop
