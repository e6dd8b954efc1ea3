/* What the command lines of benches share. */
#include "options.h"

#include <stdio.h>
#include <string.h>

int tn_bench_parse(int argc, char **argv, const char *about, const cli_option *table, int n)
{
    cli_result given = cli_parse(argc, argv, about, table, n);
    return given == CLI_GO_ON ? TN_BENCH_GO_ON : given == CLI_HELP ? 0 : 2;
}

bool tn_bench_is_within(const char *option, int64_t value, int64_t least, int64_t most)
{
    if (value >= least && value <= most) return true;
    fprintf(stderr, "--%s %lld: it is from %lld to %lld\n", option, (long long)value,
            (long long)least, (long long)most);
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

bool tn_bench_each_of(const char *list, bool (*add)(void *to, const char *part), void *to)
{
    char part[128];
    for (size_t n; *list; list += n + (list[n] == ';')) {
        n = strcspn(list, ";");
        snprintf(part, sizeof part, "%.*s", n < sizeof part ? (int)n : (int)sizeof part, list);
        if (n > 0 && !add(to, part)) return false;
    }
    return true;
}
