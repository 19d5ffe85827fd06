/* Reads the rules and counts calls. */

#include "shim.h"
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_RULES 8

struct rule {
    char calls[64], part[128], effect[32];
    long passes, times, seen;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct rule rules[MAX_RULES];
static int count;
static ino_t inode;

static void read_rules(void)
{
    const char *path = getenv("QKMS_DISK_RULES");
    struct stat found;
    if (!path || stat(path, &found) != 0) {
        count = 0;
        inode = 0;
        return;
    }
    if (found.st_ino == inode)
        return;
    inode = found.st_ino;
    count = 0;
    FILE *file = fopen(path, "re");
    while (file && count < MAX_RULES) {
        struct rule *rule = &rules[count];
        rule->seen = 0;
        if (fscanf(file, "%63s %127s %ld %ld %31s", rule->calls, rule->part, &rule->passes, &rule->times,
                   rule->effect) != 5)
            break;
        count++;
    }
    if (file)
        fclose(file);
}

static int names(const char *calls, const char *call)
{
    if (strcmp(calls, "any") == 0)
        return strcmp(call, "free") != 0;
    size_t length = strlen(call);
    for (const char *at = strstr(calls, call); at; at = strstr(at + 1, call))
        if ((at == calls || at[-1] == ',') && (at[length] == '\0' || at[length] == ','))
            return 1;
    return 0;
}

static int matches(const char *part, const char *path)
{
    size_t length = strlen(part), path_length = strlen(path);
    if (length == 0 || part[length - 1] != '$')
        return strstr(path, part) != NULL;
    length--;
    return path_length >= length && strncmp(path + path_length - length, part, length) == 0;
}

static void trace(const char *call, const char *path)
{
    const char *name = getenv("QKMS_DISK_TRACE");
    char line[PATH_MAX + 32];
    if (!name)
        return;
    int fd = syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int length = snprintf(line, sizeof line, "%s %s\n", call, path);
    if (fd < 0 || syscall(SYS_write, fd, line, (size_t)length) != length)
        abort();
    close(fd);
}

int is_ours(const char *path)
{
    const char *folder = getenv("QKMS_DISK");
    size_t length = folder ? strlen(folder) : 0;
    return folder && strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

const char *effect_on(const char *call, const char *path)
{
    const char *effect = NULL;
    if (!is_ours(path))
        return NULL;
    pthread_mutex_lock(&lock);
    read_rules();
    for (int i = 0; i < count; i++) {
        struct rule *rule = &rules[i];
        if (!names(rule->calls, call) || !matches(rule->part, path))
            continue;
        long number = rule->seen++ - rule->passes;
        if (!effect && number >= 0 && (rule->times == 0 || number < rule->times))
            effect = rule->effect;
    }
    if (!effect)
        trace(call, path);
    pthread_mutex_unlock(&lock);
    return effect;
}
