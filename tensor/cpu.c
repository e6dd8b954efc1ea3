/* Instruction sets and caches of the machine at hand. Asked once per context; nothing is kept. */
#include "tensor/cpu.h"

#include <stdio.h>
#if !defined _WIN32
#  include <unistd.h>
#endif

const char *tn_cpu_level_name(tn_cpu_level level)
{
    static const char *const name[] = { "auto", "base", "avx2", "avx512" };
    return (unsigned)level < TN_N_CPU_LEVELS ? name[level] : "?";
}

#if defined __x86_64__

/* cpuid itself is not asked again: under a hypervisor one cpuid may take 10 us. Compilers that
 * cannot ask for F16C rely on its being older than AVX2. */
#  if !defined __clang__ && __GNUC__ >= 11
#    define HAS_F16C() __builtin_cpu_supports("f16c")
#  else
#    define HAS_F16C() 1
#  endif

tn_cpu_level tn_cpu_detect(void)
{
    __builtin_cpu_init(); /* the answers include whether the OS saves the wide registers */
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
        !__builtin_cpu_supports("bmi2") || !HAS_F16C())
        return TN_CPU_BASE;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return TN_CPU_AVX2;
    return TN_CPU_AVX512;
}

const tn_kernels *tn__cpu_kernels(tn_cpu_level level)
{
    if (level == TN_CPU_AVX512) return &tn__kernels_avx512;
    if (level == TN_CPU_AVX2) return &tn__kernels_avx2;
    return &tn__kernels_base;
}

#else

tn_cpu_level tn_cpu_detect(void) { return TN_CPU_BASE; }

const tn_kernels *tn__cpu_kernels(tn_cpu_level level)
{
    (void)level;
    return &tn__kernels_base;
}

#endif

tn_cpu_level tn__cpu_cap(tn_cpu_level wanted)
{
    tn_cpu_level has = tn_cpu_detect();
    return wanted == TN_CPU_AUTO || wanted > has ? has : wanted;
}

/* ---- caches ------------------------------------------------------------------------------ */

/* Bytes of CPU 0's data or unified cache of a level, from /sys; 0 if it does not tell. */
static int64_t sys_cache(int level)
{
    for (int index = 7; index >= 0; index--) { /* the larger ones come last */
        char      path[96], type[16] = "";
        int       of = 0;
        long long kib = 0;
        static const char *const form = "/sys/devices/system/cpu/cpu0/cache/index%d/%s";
        snprintf(path, sizeof path, form, index, "level");
        FILE *f = fopen(path, "r");
        if (!f) continue;
        if (fscanf(f, "%d", &of) != 1) of = 0;
        fclose(f);
        snprintf(path, sizeof path, form, index, "type");
        f = fopen(path, "r");
        if (f) {
            if (fscanf(f, "%15s", type) != 1) type[0] = 0;
            fclose(f);
        }
        if (of != level || type[0] == 'I' || type[0] == 0) continue; /* Instruction */
        snprintf(path, sizeof path, form, index, "size");
        f = fopen(path, "r");
        if (!f) return 0;
        if (fscanf(f, "%lldK", &kib) != 1) kib = 0;
        fclose(f);
        return kib * 1024;
    }
    return 0;
}

/* The constants of sysconf for the levels; -1: there are none. */
#if defined _SC_LEVEL1_DCACHE_SIZE
enum { CONF_L1 = _SC_LEVEL1_DCACHE_SIZE, CONF_L2 = _SC_LEVEL2_CACHE_SIZE,
       CONF_L3 = _SC_LEVEL3_CACHE_SIZE };
#else
enum { CONF_L1 = -1, CONF_L2 = -1, CONF_L3 = -1 };
#endif

static int64_t conf_cache(int conf)
{
#if !defined _WIN32
    if (conf >= 0) return sysconf(conf);
#endif
    return 0;
}

/* The first of: what sysconf says, what /sys says, which takes longer, a guess; kept within
 * [least, most]. Of the last cache /sys comes first: glibc 2.36 counts that of an EPYC eight
 * times. */
static int64_t cache_size(int level, int conf, int64_t guess, int64_t least, int64_t most)
{
    int64_t size = level < 3 ? conf_cache(conf) : sys_cache(level);
    if (size <= 0) size = level < 3 ? sys_cache(level) : conf_cache(conf);
    if (size <= 0) size = guess;
    return size < least ? least : size > most ? most : size;
}

/* The bounds keep absurd answers out: virtual machines may show the L3 of a whole socket. */
tn__caches tn__cpu_caches(void)
{
    return (tn__caches){
        .l1d = cache_size(1, CONF_L1, 32 << 10, 16 << 10, 256 << 10),
        .l2 = cache_size(2, CONF_L2, 512 << 10, 128 << 10, 16 << 20),
        .l3 = cache_size(3, CONF_L3, 8 << 20, 1 << 20, 64 << 20),
    };
}
