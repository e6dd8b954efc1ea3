/* What attention may see: masks, bias and dropout on one block of scores. A mask is a bit per
 * score, 32 keys to a word, a word per query lane: so causal, key padding and dropout are applied
 * alike, with one test a vector. Included by attention.c once per dtype. */

/* A block of scores: keys [j0, j0 + nj) by queries [i0, i0 + n), query i0 + l in lane l. */
typedef struct TN_R(block) {
    T      *s;
    int64_t width; /* lanes of a row: n rounded up to whole vecs */
    int64_t i0, n, j0, nj;
    int64_t first; /* by the causal rule, query i0 + l attends to keys up to j0 + first + l */
} TN_R(block);

/* Rows of the block that lanes up to l + v_lanes may attend to; the others have a weight of 0. */
TN_INLINE int64_t TN_R(rows_seen)(const TN_R(block) *b, int64_t l)
{
    const int64_t n = b->first + l + v_lanes;
    return n < 0 ? 0 : n < b->nj ? n : b->nj;
}

/* Lanes of `yes` where bit number `bit` of the word is set, of `no` elsewhere. */
TN_INLINE vec TN_R(v_pick)(const word *words, int bit, vec yes, vec no)
{
#if defined __AVX512F__
#  define BITS(b) 1u << (b), 2u << (b), 4u << (b), 8u << (b)
    static const word one_bit[] = { BITS(0), BITS(4), BITS(8), BITS(12), BITS(16), BITS(20),
                                    BITS(24), BITS(28) };
#  undef BITS
    const __m512i w = _mm512_loadu_si512(words), y = (__m512i)yes.r[0], n = (__m512i)no.r[0];
    const __m512i narrow = _mm512_set1_epi32((int)one_bit[bit]),
        wide = _mm512_set1_epi64((long long)one_bit[bit]);
    if (sizeof(T) == 4)
        yes.r[0] = (reg)_mm512_mask_mov_epi32(n, _mm512_test_epi32_mask(w, narrow), y);
    else yes.r[0] = (reg)_mm512_mask_mov_epi64(n, _mm512_test_epi64_mask(w, wide), y);
#else
    for (int r = 0; r < regs; r++) {
        ireg w, y, n;
        __builtin_memcpy(&w, words + r * (int)(sizeof w / sizeof *words), sizeof w);
        __builtin_memcpy(&y, &yes.r[r], sizeof y);
        __builtin_memcpy(&n, &no.r[r], sizeof n);
        const ireg on = (ireg)((w & ((word)1 << bit)) != 0);
        y = (y & on) | (n & ~on);
        __builtin_memcpy(&yes.r[r], &y, sizeof y);
    }
#endif
    return yes;
}

/* x where bit number `bit` of the word is set, 0 elsewhere. */
TN_INLINE vec TN_R(v_keep)(const word *words, int bit, vec x)
{
    return TN_R(v_pick)(words, bit, x, TN_R(all)(0));
}

/* ---- masks ----------------------------------------------------------------------------------- */

/* Bit b is set if p[b step] is not 0, b < n <= 32. */
static __attribute__((noinline)) uint32_t TN_R(bits_of_bytes)(const uint8_t *p, int64_t step,
                                                               int64_t n)
{
    uint32_t bits = 0;
    int64_t  b = 0;
#if defined __x86_64__
    for (; step == 1 && b + 16 <= n; b += 16) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(p + b));
        const int     none = _mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_setzero_si128()));
        bits |= (~(uint32_t)none & 0xffff) << b;
    }
    if (step == 1 && b + 8 <= n) {
        const __m128i x = _mm_loadl_epi64((const __m128i *)(const void *)(p + b));
        const int     none = _mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_setzero_si128()));
        bits |= (~(uint32_t)none & 0xff) << b;
        b += 8;
    }
#endif
    for (; b < n; b++) bits |= (uint32_t)(p[b * step] != 0) << b;
    return bits;
}

/* Bit b is set if key j + b is not after query i, by the causal rule. */
TN_INLINE uint32_t TN_R(bits_of_causal)(const tn__attention *a, int64_t i, int64_t j)
{
    const int64_t n = i + a->diagonal - j + 1;
    return n <= 0 ? 0 : n >= 32 ? UINT32_MAX : ((uint32_t)1 << n) - 1;
}

static bool TN_R(needs_mask)(const tn__attention *a, const TN_R(block) *b)
{
    return a->keep || b->first < b->nj - 1;
}

/* words[j / 32][lane] for the block. */
static void TN_R(mask_words)(const tn__attention *a, const TN_R(block) *b, word *words)
{
    for (int64_t j = 0; j < b->nj; j += 32, words += b->width) {
        const int64_t n = b->nj - j < 32 ? b->nj - j : 32;
        uint32_t      kept = UINT32_MAX;
        for (int64_t l = 0; l < b->n; l++) {
            const int64_t i = b->i0 + l;
            if (a->keep && (l == 0 || a->keep_row))
                kept = TN_R(bits_of_bytes)(a->keep + i * a->keep_row + (b->j0 + j) * a->keep_col,
                                           a->keep_col, n);
            words[l] = kept & TN_R(bits_of_causal)(a, i, b->j0 + j);
        }
        for (int64_t l = b->n; l < b->width; l++) words[l] = 0;
    }
}

/* Scores that may not be attended to become -inf. By the causal rule alone the first rows of a vec
 * are for all of its lanes. */
static void TN_R(apply_mask)(const tn__attention *a, const TN_R(block) *b, const word *words)
{
    const vec minus_inf = TN_R(all)(-(T)__builtin_inf());
    for (int64_t l = 0; l < b->width; l += v_lanes)
        for (int64_t j = a->keep || b->first + l < 0 ? 0 : b->first + l + 1;
             j < TN_R(rows_seen)(b, l); j++) {
            T *s = b->s + j * b->width + l;
            v_store(s, TN_R(v_pick)(words + j / 32 * b->width + l, j & 31, v_load(s), minus_inf));
        }
}

/* ---- picked keys ----------------------------------------------------------------------------- */

/* Of a block of keys those that some query may attend to, counted from its first one, and their
 * part of the mask as mask_words makes it. */
typedef struct TN_R(picked) {
    int64_t n;
    uint8_t key[TN_ATTENTION_KEYS];
    word    words[TN_ATTENTION_KEYS / 32 * TN_ATTENTION_FEW];
} TN_R(picked);

static void TN_R(pick_keys)(const tn__attention *a, const TN_R(block) *b, TN_R(picked) *x)
{
    uint64_t own[TN_ATTENTION_FEW], any = 0;
    for (int64_t i = 0; i < b->n; i++) {
        const uint8_t *keep = a->keep + (b->i0 + i) * a->keep_row + b->j0 * a->keep_col;
        const int64_t  n = b->nj < 32 ? b->nj : 32;
        own[i] = TN_R(bits_of_bytes)(keep, a->keep_col, n) |
            (uint64_t)TN_R(bits_of_bytes)(keep + n * a->keep_col, a->keep_col, b->nj - n) << n;
        any |= own[i];
    }
    for (x->n = 0; any; any &= any - 1) x->key[x->n++] = (uint8_t)__builtin_ctzll(any);
    for (int64_t i = 0; i < b->width; i++) {
        uint64_t bits = 0;
        for (int64_t j = 0; j < x->n && i < b->n; j++) bits |= (own[i] >> x->key[j] & 1) << j;
        x->words[i] = (uint32_t)bits, x->words[b->width + i] = (word)(bits >> 32);
    }
}

/* Their rows, of which the block's first is `first`, are on their way: they lie anywhere. */
static void TN_R(fetch_picked)(const TN_R(picked) *x, const void *base, int64_t first, int64_t row,
                               int64_t depth)
{
    for (int64_t j = 0; j < x->n; j++)
        for (int64_t d = 0; d < depth; d += 64 / (int64_t)sizeof(T))
            __builtin_prefetch((const T *)base + (first + x->key[j]) * row + d);
}

/* A copy of them side by side. */
static TN_R(rows) TN_R(copy_picked)(const TN_R(picked) *x, const void *base, int64_t first,
                                    int64_t row, int64_t depth, T **scratch)
{
    const int64_t    pad = tn__attention_pad(depth, sizeof(T));
    const TN_R(rows) to = { TN_R(carve)(scratch, x->n * pad), pad };
    for (int64_t j = 0; j < x->n; j++) {
        const T *src = (const T *)base + (first + x->key[j]) * row;
        T       *dst = to.p + j * pad;
        for (int64_t d = 0; d < depth / v_lanes * v_lanes; d += v_lanes)
            v_store(dst + d, v_load(src + d));
        if (pad > depth) {
            const int64_t d = pad - v_lanes;
            v_store(dst + d, v_load_part(src + d, depth - d, 0));
        }
    }
    return to;
}

/* s += log2(e) bias: scores are in units of log 2. */
static void TN_R(apply_bias)(const tn__attention *a, const TN_R(block) *b)
{
    const T *bias = (const T *)a->bias + b->i0 * a->bias_row + b->j0 * a->bias_col;
    for (int64_t j = 0; j < b->nj; j++, bias += a->bias_col)
        for (int64_t l = 0; l < b->n; l++)
            b->s[j * b->width + l] += (T)1.4426950408889634 * bias[l * a->bias_row];
}

/* ---- dropout --------------------------------------------------------------------------------- */

/* The 128 keep bits of one group of the random sequence; threshold < 65536. */
TN_INLINE void TN_R(kept_bits)(const uint32_t *w, uint32_t threshold, uint32_t bits[4])
{
#if defined __AVX512BW__
    const __m512i t = _mm512_set1_epi16((short)threshold);
    for (int i = 0; i < 4; i++)
        bits[i] = _mm512_cmpge_epu16_mask(_mm512_loadu_si512(w + 16 * i), t);
#elif defined __x86_64__
    const __m128i t = _mm_set1_epi16((short)threshold), zero = _mm_setzero_si128();
    for (int i = 0; i < 4; i++) { /* h >= t if t - h saturates to 0 */
        const __m128i *p = (const __m128i *)(const void *)(w + 16 * i);
        __m128i        h[4];
        for (int k = 0; k < 4; k++)
            h[k] = _mm_cmpeq_epi16(_mm_subs_epu16(t, _mm_loadu_si128(p + k)), zero);
        bits[i] = (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(h[0], h[1])) |
                  (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(h[2], h[3])) << 16;
    }
#else
    for (int i = 0; i < 4; i++) bits[i] = 0;
    for (int e = 0; e < TN_GROUP_HALVES; e++)
        bits[e / 32] |= (uint32_t)(tn__half(w, e) >= threshold) << e % 32;
#endif
}

/* Keep bits of n elements of the random sequence from `first` on, which begins a group. */
enum { TN_R(most_groups) = 16 };
typedef struct TN_R(kept_window) {
    uint64_t first, n;
    uint32_t bits[4 * TN_R(most_groups) + 1];
} TN_R(kept_window);

/* Begins with the group of `first`, and ends with that of `last` or earlier. */
static void TN_R(make_window)(const tn__attention *a, TN_R(kept_window) *k, uint64_t first,
                              uint64_t last)
{
    enum { most = TN_R(most_groups) };
    const uint64_t group = first / TN_GROUP_HALVES, wanted = last / TN_GROUP_HALVES - group + 1;
    const uint32_t threshold = tn__threshold16(a->p);
    const int      n = wanted < most ? (int)wanted : most;
    uint32_t       w[most * TN_GROUP_WORDS];
    k->first = group * TN_GROUP_HALVES, k->n = (uint64_t)n * TN_GROUP_HALVES;
    k->bits[4 * n] = 0;
    if (threshold > 65535) {
        memset(k->bits, 0, sizeof k->bits);
        return;
    }
    TN_K(philox_row)(a->key, a->run, group, n, w);
    for (int i = 0; i < n; i++) TN_R(kept_bits)(w + i * TN_GROUP_WORDS, threshold, k->bits + 4 * i);
}

/* words[j / 32][lane]: set where weight (i0 + lane, j0 + j) is kept, j < nj. The elements of a row
 * are neighbours in the random sequence, and where rows have hardly more groups than the part of
 * them that is wanted, so are those of the next row: a window runs on through the rows then. */
static void TN_R(dropout_words)(const tn__attention *a, int64_t i0, int64_t n, int64_t width,
                                int64_t j0, int64_t nj, word *words)
{
    const int64_t       groups = (nj + TN_GROUP_HALVES - 1) / TN_GROUP_HALVES; /* of one row */
    const bool          is_dense = 8 * a->first_row <= 9 * groups * TN_GROUP_HALVES;
    TN_R(kept_window)   k = { .n = 0 };
    const uint64_t      start = a->first + (uint64_t)(i0 * a->first_row + j0);
    for (int64_t l = 0; l < n; l++) {
        const uint64_t row = start + (uint64_t)(l * a->first_row);
        const uint64_t end = (is_dense ? start + (uint64_t)((n - 1) * a->first_row)
                              : row) + (uint64_t)nj;
        for (int64_t j = 0; j < nj; j += 32) {
            const uint64_t e = row + (uint64_t)j, last = e + 31 < end ? e + 31 : end - 1;
            if (e < k.first || last >= k.first + k.n) TN_R(make_window)(a, &k, e, end - 1);
            const uint64_t  at = e - k.first;
            const uint32_t *bits = k.bits + at / 32;
            words[j / 32 * width + l] =
                (word)(uint32_t)((bits[0] | (uint64_t)bits[1] << 32) >> at % 32);
        }
    }
    for (int64_t j = 0; j < nj; j += 32)
        for (int64_t l = n; l < width; l++) words[j / 32 * width + l] = 0;
}
