/* What the command lines of benches share. */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int tn_bench_end(int code)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return code;
    fprintf(stderr, "standard output could not be written%s%s\n", errno ? ": " : "",
            errno ? strerror(errno) : "");
    return code ? code : 1;
}

int tn_bench_parse(int argc, char **argv, const char *about, const cli_option *table, int n)
{
    cli_result given = cli_parse(argc, argv, about, table, n);
    return given == CLI_GO_ON ? TN_BENCH_GO_ON : given == CLI_HELP ? tn_bench_end(0) : 2;
}

bool tn_bench_is_within(const char *option, int64_t value, int64_t least, int64_t most)
{
    if (value >= least && value <= most) return true;
    fprintf(stderr, "--%s %lld: it is from %lld to %lld\n", option, (long long)value,
            (long long)least, (long long)most);
    return false;
}

bool tn_bench_is_sample(double ms)
{
    if (ms <= 60e3) return true;
    fprintf(stderr, "--ms %g: it is from 0 to 60000\n", ms);
    return false;
}

bool tn_bench_level_of(const char *option, const char *name, tn_cpu_level *level)
{
    char names[64] = "";
    *level = TN_CPU_AUTO;
    if (!name) return true;
    for (int i = TN_CPU_BASE; i < TN_N_CPU_LEVELS; i++) {
        if (names[0]) strcat(names, "|");
        strcat(names, tn_cpu_level_name((tn_cpu_level)i));
    }
    int which = cli_choice(option, name, names);
    if (which >= 0) *level = (tn_cpu_level)(TN_CPU_BASE + which);
    return which >= 0;
}

bool tn_bench_each_of(const char *option, const char *list,
                      bool (*add)(void *to, const char *part), void *to)
{
    char part[128];
    if (!list[strspn(list, ";")]) {
        fprintf(stderr, "--%s %s: nothing is in it\n", option, list);
        return false;
    }
    for (size_t n; *list; list += n + (list[n] == ';')) {
        n = strcspn(list, ";");
        snprintf(part, sizeof part, "%.*s", n < sizeof part ? (int)n : (int)sizeof part, list);
        if (n > 0 && !add(to, part)) return false;
    }
    return true;
}

int tn_bench_numbers(const char *list, int64_t *to, int n, const char **rest)
{
    const int64_t most = (int64_t)1 << 50;
    int64_t       left = most;
    int           i = 0;
    while (i < n && *list >= '0' && *list <= '9') {
        char *end;
        errno = 0;
        to[i] = strtoll(list, &end, 10);
        if (errno || to[i] < 1 || to[i] > left || (*end && *end != ',')) break;
        left /= to[i++];
        list = end + (*end == ',');
    }
    *rest = list;
    return i;
}
