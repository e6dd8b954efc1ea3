/* Ops that move elements: views, slices in Python's sense, joins, and copies of any layout. */
#include "values.h"

#define S TN_SHAPE
#define NONE ((const double[]){ 0 })

TEST(shape, reshape)
{
    begin();
    tn_node *x = iota(TN_F64, S(2, 3));
    CHECK_VALUES(tn_reshape(x, S(3, 2)), S(3, 2), 0, 1, 2, 3, 4, 5);
    CHECK_VALUES(tn_reshape(x, S(-1)), S(6), 0, 1, 2, 3, 4, 5);
    CHECK_VALUES(tn_reshape(x, S(1, -1, 2)), S(1, 3, 2), 0, 1, 2, 3, 4, 5);
    CHECK_VALUES(tn_reshape(tn_transpose(x, 0, 1), S(2, 3)), S(2, 3), 0, 3, 1, 4, 2, 5);
    CHECK_VALUES(tn_reshape(iota(TN_F64, S(1, 1)), TN_SCALAR), TN_SCALAR, 0);
    CHECK_REFUSED(!tn_reshape(x, S(4, -1)), TN_ERR_SHAPE,
                  "reshape: [2,3]: 6 elements do not say what -1 is in [4,-1]");
    CHECK_REFUSED(!tn_reshape(x, S(-1, -1)), TN_ERR_SHAPE, "what -1 is in [-1,-1]");
    CHECK_REFUSED(!tn_reshape(x, S(-3, -2)), TN_ERR_SHAPE, "dimension 0 is -3");
    CHECK_REFUSED(!tn_reshape(x, S(7)), TN_ERR_SHAPE, "6 elements do not fit [7]");
    CHECK_REFUSED(!tn_reshape(x, S(1, 1, 1, 1, 1, 1, 1, 1, 6)), TN_ERR_SHAPE, "rank over 8");
    const tn_shape much = { .rank = 40, .dim = { 1, 1, 1, 1, 1, 1, 1, 1 } };
    CHECK_REFUSED(!tn_reshape(x, much), TN_ERR_SHAPE, "rank");
    CHECK(tn_reshape(NULL, S(1)) == NULL);
    end();
}

/* Where a product of matrices would read nothing twice, there is none: it takes 5 to 50 times as
 * long. */
TEST(shape, einsum_element_by_element)
{
    begin();
    tn_node *x = iota(TN_F64, S(2, 3)), *y = tn_add_scalar(x, 1), *v = iota(TN_F64, S(3));
    tn_node *xy[] = { x, y }, *xv[] = { x, v };
    CHECK_VALUES(tn_einsum("ij,ij->ij", xy, 2), S(2, 3), 0, 2, 6, 12, 20, 30);
    CHECK_VALUES(tn_einsum("ij,ij->ji", xy, 2), S(3, 2), 0, 12, 2, 20, 6, 30);
    CHECK_VALUES(tn_einsum("ij,j->ij", xv, 2), S(2, 3), 0, 1, 4, 0, 4, 10);
    CHECK_VALUES(tn_einsum("ij,ij->i", xy, 2), S(2), 8, 62);
    CHECK_VALUES(tn_einsum("ij,ij->j", xy, 2), S(3), 12, 22, 36);
    CHECK_VALUES(tn_einsum("ij,ij->", xy, 2), TN_SCALAR, 70);
    for (int64_t i = 0; i < g->n_calls; i++) CHECK(g->calls[i]->op != &tn_op_matmul);
    end();
}

/* A dimension of 1 is broadcast inside a sum, also to none at all. */
TEST(shape, einsum_broadcasts_what_it_sums)
{
    begin();
    tn_node *x = F64(S(2, 1), 1, 2), *three[] = { x, F64(S(3, 2), 1, 2, 3, 4, 5, 6) };
    tn_node *none[] = { x, tn_full(g, TN_F64, S(0, 2), 1) };
    CHECK_VALUES(tn_einsum("ij,jk->ik", three, 2), S(2, 2), 9, 12, 18, 24);
    CHECK_VALUES(tn_einsum("ij,jk->ik", none, 2), S(2, 2), 0, 0, 0, 0);
    end();
}

/* A label that stands several times in a term. */
TEST(shape, diagonals)
{
    begin();
    tn_node *x = iota(TN_F64, S(2, 2, 2)), *y = iota(TN_F64, S(2, 2, 2, 2));
    CHECK_VALUES(tn_einsum("iij->ij", &x, 1), S(2, 2), 0, 1, 6, 7);
    CHECK_VALUES(tn_einsum("iji->ji", &x, 1), S(2, 2), 0, 5, 2, 7);
    CHECK_VALUES(tn_einsum("iii->i", &x, 1), S(2), 0, 7);
    CHECK_VALUES(tn_einsum("iiii->", &y, 1), TN_SCALAR, 15);
    CHECK_VALUES(tn_einsum("ijij->ji", &y, 1), S(2, 2), 0, 10, 5, 15);
    end();
}

/* A reshape of a permuted or sliced view is the reshape of its contiguous copy. */
TEST(shape, reshape_of_strided_views)
{
    begin();
    tn_node *x = iota(TN_I32, S(4, 6, 2, 3));
    int      orders[][4] = { { 0, 1, 2, 3 }, { 1, 0, 2, 3 }, { 0, 1, 3, 2 }, { 3, 2, 1, 0 },
                             { 2, 3, 0, 1 } };
    tn_shape shapes[] = { S(144), S(24, 6), S(2, 2, 36), S(12, 12), S(4, 3, 2, 6), S(8, 18),
                          S(1, 144, 1) };
    for (int o = 0; o < 5; o++) {
        for (int k = 0; k < 7; k++) {
            tn_node *view = tn_permute(x, orders[o], 4);
            int32_t *a = value_of(tn_reshape(view, shapes[k]));
            int32_t *b = value_of(tn_reshape(tn_contiguous(view), shapes[k]));
            CHECK_MSG(a && b && memcmp(a, b, 144 * sizeof *a) == 0, "order %d, shape %d", o, k);
            free(a), free(b);
        }
    }
    tn_node *half = tn_slice(iota(TN_F64, S(2, 4)), 1, 0, 4, 2);
    CHECK_VALUES(tn_reshape(half, S(4)), S(4), 0, 2, 4, 6);
    CHECK_VALUES(tn_reshape(half, S(1, 2, 1, 2)), S(1, 2, 1, 2), 0, 2, 4, 6);
    end();
}

TEST(shape, views_take_no_step)
{
    begin();
    tn_node *x = tn_input(g, "x", TN_F32, S(4, 6)), *part[2];
    tn_node *y = tn_slice(tn_transpose(x, 0, 1), 0, 1, 6, 2);           /* [3,4] */
    y = tn_expand(tn_unsqueeze(tn_flip(y, -1), 0), S(2, 3, 4));
    REQUIRE(tn_chunk(y, -1, 2, part) == TN_OK);
    y = tn_sum_all(tn_unfold(part[1], 1, 2, 1));
    tn_program *p = tn_compile(g, &y, 1, NULL);
    REQUIRE(p);
    CHECK_INT(tn_program_stats_of(p).steps, 1); /* the sum alone */
    tn_program_free(p);
    end();
}

TEST(shape, permute_and_transpose)
{
    begin();
    tn_node *x = iota(TN_F64, S(2, 1, 3));
    CHECK_VALUES(tn_permute(x, (int[]){ 2, 0, -2 }, 3), S(3, 2, 1), 0, 3, 1, 4, 2, 5);
    CHECK_VALUES(tn_transpose(x, -1, 0), S(3, 1, 2), 0, 3, 1, 4, 2, 5);
    CHECK_REFUSED(!tn_permute(x, (int[]){ 0, 1 }, 2), TN_ERR_ARG,
                  "permute: [2,1,3]: axes [0,1] are not a permutation of its 3 dimensions");
    CHECK_REFUSED(!tn_permute(x, (int[]){ 0, 1, 3 }, 3), TN_ERR_ARG, "axes [0,1,3]");
    CHECK_REFUSED(!tn_transpose(x, 0, 3), TN_ERR_ARG,
                  "transpose: [2,1,3]: axis 3 is not in [-3, 3)");
    TN_SCOPE(g, "encoder.%d", 1)
        CHECK_REFUSED(!tn_transpose(x, -4, 0), TN_ERR_ARG, "axis -4 is not in [-3, 3) (encoder.1)");
    end();
}

TEST(shape, squeeze_unsqueeze_flatten_expand)
{
    begin();
    tn_node *x = iota(TN_F64, S(2, 1, 3));
    CHECK_VALUES(tn_squeeze(x, -2), S(2, 3), 0, 1, 2, 3, 4, 5);
    CHECK_VALUES(tn_unsqueeze(tn_squeeze(x, 1), -1), S(2, 3, 1), 0, 1, 2, 3, 4, 5);
    CHECK_VALUES(tn_unsqueeze(tn_sum_all(x), 0), S(1), 15);
    CHECK_VALUES(tn_flatten(x, 0, -1), S(6), 0, 1, 2, 3, 4, 5);
    CHECK_VALUES(tn_flatten(x, 1, 2), S(2, 3), 0, 1, 2, 3, 4, 5);
    CHECK_VALUES(tn_flatten(tn_sum_all(x), 0, 0), S(1), 15);
    CHECK_VALUES(tn_expand(F64(S(2, 1), 7, 8), S(2, 2, 3)), S(2, 2, 3), 7, 7, 7, 8, 8, 8, 7, 7, 7,
                 8, 8, 8);
    CHECK_REFUSED(!tn_squeeze(x, 0), TN_ERR_SHAPE, "squeeze: [2,1,3]: axis 0 has size 2, not 1");
    CHECK_REFUSED(!tn_squeeze(x, 3), TN_ERR_ARG, "axis 3 is not in [-3, 3)");
    CHECK_REFUSED(!tn_unsqueeze(x, -5), TN_ERR_ARG, "axis -5 is not in [-4, 4)");
    CHECK_REFUSED(!tn_unsqueeze(iota(TN_F32, S(1, 1, 1, 1, 1, 1, 1, 1)), 0), TN_ERR_SHAPE,
                  "rank over 8");
    CHECK_REFUSED(!tn_flatten(x, 2, 1), TN_ERR_ARG, "axes 2 to 1 are not a range");
    CHECK_REFUSED(!tn_expand(x, S(2, 2, 2)), TN_ERR_SHAPE,
                  "expand: [2,1,3]: does not broadcast to [2,2,2]");
    end();
}

/* x = 0 1 2 3 4; each line is Python's answer for x[begin:end:step]. */
TEST(shape, slice_is_pythons)
{
    const int64_t most = INT64_MAX, least = INT64_MIN;
    const struct {
        int64_t begin, end, step;
        int     n;
        double  want[5];
    } cases[] = {
        { 0, most, 1, 5, { 0, 1, 2, 3, 4 } },    { 1, 4, 1, 3, { 1, 2, 3 } },
        { -2, most, 1, 2, { 3, 4 } },            { 0, -1, 1, 4, { 0, 1, 2, 3 } },
        { least, most, 2, 3, { 0, 2, 4 } },      { 1, most, 3, 2, { 1, 4 } },
        { most, least, -1, 5, { 4, 3, 2, 1, 0 } }, { 3, 0, -1, 3, { 3, 2, 1 } },
        { -1, -4, -2, 2, { 4, 2 } },             { 3, least, -3, 2, { 3, 0 } },
        { 4, 1, 1, 0, { 0 } },                   { 1, 4, -1, 0, { 0 } },
        { 10, 20, 1, 0, { 0 } },                 { -20, 2, 1, 2, { 0, 1 } },
        { 20, -20, -4, 2, { 4, 0 } },            { 0, most, most, 1, { 0 } },
        { 4, least, least, 1, { 4 } },           { -1, most, 1, 1, { 4 } },
    };
    begin();
    tn_node *x = iota(TN_F64, S(5));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tn_node *y = tn_slice(x, 0, cases[i].begin, cases[i].end, cases[i].step);
        check_values(__FILE__, (int)i, y, S(cases[i].n), cases[i].want, 0);
        tn_node *dx = gradient(y, NULL, x);
        double   want[5] = { 0 };
        for (int k = 0; k < cases[i].n; k++) want[(int)cases[i].want[k]] = 1;
        check_values(__FILE__, (int)i, dx, S(5), want, 0);
    }
    CHECK_REFUSED(!tn_slice(x, 0, 0, 5, 0), TN_ERR_ARG, "slice: [5]: the step is 0");
    CHECK_REFUSED(!tn_slice(x, 1, 0, 5, 1), TN_ERR_ARG, "axis 1 is not in [-1, 1)");
    CHECK_VALUES(tn_slice(iota(TN_F64, S(0)), 0, 0, 5, 1), S(0), 0);
    CHECK_VALUES(tn_flip(iota(TN_F64, S(0)), 0), S(0), 0);
    end();
}

TEST(shape, select_flip_roll)
{
    begin();
    tn_node *x = iota(TN_F64, S(2, 3));
    CHECK_VALUES(tn_select(x, 0, 1), S(3), 3, 4, 5);
    CHECK_VALUES(tn_select(x, -1, -1), S(2), 2, 5);
    CHECK_VALUES(tn_flip(x, -1), S(2, 3), 2, 1, 0, 5, 4, 3);
    CHECK_VALUES(tn_roll(x, 1, 1), S(2, 3), 2, 0, 1, 5, 3, 4);
    CHECK_VALUES(tn_roll(x, 1, -4), S(2, 3), 1, 2, 0, 4, 5, 3);
    CHECK_VALUES(tn_roll(x, 1, 3), S(2, 3), 0, 1, 2, 3, 4, 5);
    CHECK_VALUES(tn_roll(x, 0, 1), S(2, 3), 3, 4, 5, 0, 1, 2);
    CHECK_VALUES(gradient(tn_select(x, 1, 2), NULL, x), S(2, 3), 0, 0, 1, 0, 0, 1);
    CHECK_VALUES(gradient(tn_roll(x, 1, 1), x, x), S(2, 3), 3, 2, 1, 9, 8, 7);
    CHECK_REFUSED(!tn_select(x, 1, 3), TN_ERR_ARG, "select: [2,3]: index 3 is not in [-3, 3)");
    CHECK_REFUSED(!tn_flip(x, 2), TN_ERR_ARG, "flip: [2,3]: axis 2");
    CHECK_REFUSED(!tn_roll(x, -3, 1), TN_ERR_ARG, "roll: [2,3]: axis -3");
    end();
}

TEST(shape, concat_and_stack)
{
    begin();
    tn_node *x = F64(S(2, 2), 1, 2, 3, 4), *y = F64(S(2, 1), 5, 6), *none = numbers(TN_F64, S(2, 0),
        NONE);
    CHECK_VALUES(tn_concat((tn_node *[]){ x, y, none, y }, 4, -1), S(2, 4), 1, 2, 5, 5, 3, 4, 6, 6);
    CHECK_VALUES(tn_concat((tn_node *[]){ tn_transpose(x, 0, 1), x }, 2, 0), S(4, 2), 1, 3, 2, 4, 1,
                 2, 3, 4);
    CHECK_VALUES(tn_stack((tn_node *[]){ x, x }, 2, -1), S(2, 2, 2), 1, 1, 2, 2, 3, 3, 4, 4);
    CHECK_VALUES(tn_stack((tn_node *[]){ x, x }, 2, 0), S(2, 2, 2), 1, 2, 3, 4, 1, 2, 3, 4);
    tn_node *both = tn_concat((tn_node *[]){ x, y }, 2, 1), *w = iota(TN_F64, S(2, 3));
    CHECK_VALUES(gradient(both, w, y), S(2, 1), 2, 5);
    CHECK_VALUES(tn_concat((tn_node *[]){ numbers(TN_BOOL, S(1), (double[]){ 1 }),
                                          numbers(TN_BOOL, S(2),
                                                  (double[]){ 0, 1 }) }, 2, 0), S(3), 1, 0, 1);
    CHECK_REFUSED(!tn_concat((tn_node *[]){ x, y }, 2, 0), TN_ERR_SHAPE,
                  "concat: [2,2] x [2,1]: input 1 differs from those before it");
    CHECK_REFUSED(!tn_concat((tn_node *[]){ x, tn_cast(y, TN_F32) }, 2, 1), TN_ERR_DTYPE,
                  "f64[2,2] x f32[2,1]");
    CHECK_REFUSED(!tn_concat((tn_node *[]){ x, x }, 2, 2), TN_ERR_ARG, "axis 2 is not in [-2, 2)");
    CHECK_REFUSED(!tn_stack((tn_node *[]){ x, y }, 2, 0), TN_ERR_SHAPE,
                  "stack: [2,2]: input 1 has another shape");
    CHECK(tn_concat((tn_node *[]){ x, NULL }, 2, 0) == NULL);
    CHECK(tn_stack((tn_node *[]){ x, NULL }, 2, 0) == NULL);
    end();
}

TEST(shape, split_and_chunk)
{
    begin();
    tn_node *x = iota(TN_F64, S(2, 10)), *part[10];
    REQUIRE(tn_split(x, 1, (int64_t[]){ 3, 0, 7 }, 3, part) == TN_OK);
    CHECK_VALUES(part[0], S(2, 3), 0, 1, 2, 10, 11, 12);
    CHECK_VALUES(part[1], S(2, 0), 0);
    CHECK_VALUES(gradient(part[0], part[0], x), S(2, 10), 0, 2, 4, 0, 0, 0, 0, 0, 0, 0,
                 20, 22, 24, 0, 0, 0, 0, 0, 0, 0);
    REQUIRE(tn_chunk(x, -1, 10, part) == TN_OK); /* more than an op has outputs */
    tn_node *y = NULL;
    for (int i = 0; i < 10; i++) {
        CHECK_VALUES(part[i], S(2, 1), i, 10 + i);
        tn_node *term = tn_scale(part[i], i);
        y = y ? tn_add(y, term) : term;
    }
    CHECK_VALUES(gradient(y, NULL, x), S(2, 10), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6,
                 7, 8, 9);
    CHECK_REFUSED(tn_split(x, 1, (int64_t[]){ 3, 3 }, 2, part) != TN_OK, TN_ERR_SHAPE,
                  "split: [2,10]: the parts' sizes add up to 6, axis 1 has 10");
    CHECK(part[0] == NULL && part[1] == NULL);
    CHECK_REFUSED(tn_split(x, 1, (int64_t[]){ -1, 11 }, 2, part) != TN_OK, TN_ERR_SHAPE,
                  "part 0 of size -1 does not fit");
    CHECK_REFUSED(tn_split(x, 1, (int64_t[10]){ 10, 1 }, 10, part) != TN_OK, TN_ERR_SHAPE,
                  "10 parts");
    CHECK_REFUSED(tn_split(x, 1, NULL, 2, part) != TN_OK, TN_ERR_ARG, "no list");
    CHECK_REFUSED(tn_chunk(x, 1, 3, part) != TN_OK, TN_ERR_SHAPE,
                  "chunk: [2,10]: axis 1 of size 10 is not 3 equal parts");
    CHECK_REFUSED(tn_chunk(x, 1, 0, part) != TN_OK, TN_ERR_SHAPE, "not 0 equal parts");
    CHECK_REFUSED(tn_chunk(x, 2, 2, part) != TN_OK, TN_ERR_ARG, "axis 2 is not in [-2, 2)");
    CHECK(tn_chunk(NULL, 0, 2, part) != TN_OK && part[0] == NULL);
    end();
}

TEST(shape, pad)
{
    begin();
    tn_node *x = F64(S(2, 2), 1, 2, 3, 4);
    CHECK_VALUES(tn_pad(x, 1, 1, 2, -5), S(2, 5), -5, 1, 2, -5, -5, -5, 3, 4, -5, -5);
    CHECK_VALUES(tn_pad(x, 0, 0, 1, 0), S(3, 2), 1, 2, 3, 4, 0, 0);
    CHECK_VALUES(tn_pad(tn_transpose(x, 0, 1), 1, 1, 0, 9), S(2, 3), 9, 1, 3, 9, 2, 4);
    CHECK_VALUES(tn_pad(x, 1, 0, 0, 7), S(2, 2), 1, 2, 3, 4);
    CHECK_VALUES(tn_pad(I32(S(1), 3), 0, 1, 1, -1), S(3), -1, 3, -1);
    CHECK_VALUES(tn_pad(numbers(TN_BOOL, S(1), (double[]){ 0 }), 0, 0, 1, 1), S(2), 0, 1);
    CHECK_VALUES(tn_pad(numbers(TN_F64, S(0, 2), NONE), 0, 1, 1, 6), S(2, 2), 6, 6, 6, 6);
    CHECK_VALUES(gradient(tn_pad(x, 1, 1, 0, 5), iota(TN_F64, S(2, 3)), x), S(2, 2), 1, 2, 4, 5);
    CHECK_REFUSED(!tn_pad(x, 1, -1, 0, 0), TN_ERR_ARG, "pad: [2,2]: -1 before and 0 after");
    CHECK_REFUSED(!tn_pad(x, 2, 1, 0, 0), TN_ERR_ARG, "axis 2 is not in [-2, 2)");
    CHECK_REFUSED(!tn_pad(I32(S(1), 3), 0, 1, 1, 0.5), TN_ERR_ARG, "i32 cannot hold 0.5");
    end();
}

TEST(shape, triangles)
{
    begin();
    tn_node *x = F64(S(2, 3), 1, 2, 3, 4, 5, 6);
    CHECK_VALUES(tn_tril(x, 0), S(2, 3), 1, 0, 0, 4, 5, 0);
    CHECK_VALUES(tn_tril(x, 1), S(2, 3), 1, 2, 0, 4, 5, 6);
    CHECK_VALUES(tn_tril(x, INT64_MIN), S(2, 3), 0, 0, 0, 0, 0, 0);
    CHECK_VALUES(tn_triu(x, 0), S(2, 3), 1, 2, 3, 0, 5, 6);
    CHECK_VALUES(tn_triu(x, -1), S(2, 3), 1, 2, 3, 4, 5, 6);
    CHECK_VALUES(tn_triu(x, INT64_MAX), S(2, 3), 0, 0, 0, 0, 0, 0);
    CHECK_VALUES(tn_triu(tn_expand(x, S(2, 2, 3)), 1), S(2, 2, 3), 0, 2, 3, 0, 0, 6, 0, 2, 3, 0, 0,
                 6);
    CHECK_VALUES(gradient(tn_tril(x, 0), x, x), S(2, 3), 2, 0, 0, 8, 10, 0);
    CHECK_REFUSED(!tn_tril(iota(TN_F64, S(3)), 0), TN_ERR_SHAPE,
                  "tril: [3]: rank 1, at least 2 is needed");
    end();
}

TEST(shape, unfold)
{
    begin();
    tn_node *x = iota(TN_F64, S(5)), *y = tn_unfold(x, 0, 3, 1);
    CHECK_VALUES(y, S(3, 3), 0, 1, 2, 1, 2, 3, 2, 3, 4);
    CHECK_VALUES(gradient(y, NULL, x), S(5), 1, 2, 3, 2, 1);
    CHECK_VALUES(tn_unfold(x, -1, 2, 2), S(2, 2), 0, 1, 2, 3);
    CHECK_VALUES(gradient(tn_unfold(x, -1, 2, 2), NULL, x), S(5), 1, 1, 1, 1, 0);
    CHECK_VALUES(tn_unfold(iota(TN_F64, S(3, 2)), 0, 2, 1), S(2, 2, 2), 0, 2, 1, 3, 2, 4, 3, 5);
    CHECK_REFUSED(!tn_unfold(x, 0, 6, 1), TN_ERR_ARG,
                  "windows of 6 in steps of 1 over axis 0 of size 5");
    CHECK_REFUSED(!tn_unfold(x, 0, 2, 0), TN_ERR_ARG, "steps of 0");
    end();
}

TEST(shape, arange)
{
    begin();
    CHECK_VALUES(tn_arange(g, TN_F64, 3, 1, 0.5), S(3), 1, 1.5, 2);
    CHECK_VALUES(tn_arange(g, TN_I64, 4, 3, -2), S(4), 3, 1, -1, -3);
    CHECK_VALUES(tn_arange(g, TN_I32, 0, 0, 1), S(0), 0);
    CHECK_REFUSED(!tn_arange(g, TN_I32, 3, 0, 0.5), TN_ERR_ARG,
                  "arange: i32 cannot hold 0, 0.5, .. 1");
    CHECK_REFUSED(!tn_arange(g, TN_I32, 3, 2147483646, 1), TN_ERR_ARG, "cannot hold");
    CHECK_REFUSED(!tn_arange(g, TN_I32, -1, 0, 1), TN_ERR_ARG, "-1 elements");
    CHECK_REFUSED(!tn_arange(g, TN_BOOL, 2, 0, 1), TN_ERR_DTYPE, "bool is not");
    end();
}

/* Copies of permuted views, larger than the caches, with ragged edges, of every element size. */
TEST(shape, contiguous_copies)
{
    static const struct {
        int64_t dim[4];
        int     axes[4];
    } cases[] = {
        { { 1, 1, 700, 1100 }, { 0, 1, 3, 2 } }, { { 1, 1, 1024, 704 }, { 0, 1, 3, 2 } },
        { { 3, 50, 7, 33 }, { 0, 2, 1, 3 } },    { { 5, 31, 3, 40 }, { 3, 1, 2, 0 } },
        { { 40, 37, 5, 2 }, { 0, 2, 1, 3 } },    { { 9, 60, 61, 3 }, { 3, 0, 1, 2 } },
        { { 2, 300, 1, 17 }, { 0, 3, 2, 1 } },   { { 1, 2, 600, 640 }, { 1, 3, 0, 2 } },
        { { 4, 3, 500, 1 }, { 0, 2, 1, 3 } },    { { 4, 501, 5, 1 }, { 0, 2, 1, 3 } },
        { { 2, 9, 11, 13 }, { 0, 2, 1, 3 } },    { { 40, 50, 6, 3 }, { 2, 0, 1, 3 } },
        { { 3, 2, 2, 301 }, { 0, 3, 1, 2 } },    { { 31, 6, 50, 15 }, { 2, 1, 0, 3 } },
    };
    const tn_dtype dtypes[] = { TN_F32, TN_F64, TN_U8, TN_BF16 };
    begin();
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        for (int k = 0; k < 4; k++) {
            tn_shape s = tn_shape_of(4, cases[c].dim);
            size_t   size = tn_dtype_size(dtypes[k]), n = (size_t)tn_shape_size(&s);
            char    *data = malloc(n * size);
            for (size_t i = 0; i < n * size; i++) data[i] = (char)((i * 2654435761u) >> 11);
            tn_node *y = tn_contiguous(tn_permute(tn_constant(g, dtypes[k], s, data), cases[c].axes,
                                                  4));
            char    *got = value_of(y);
            REQUIRE(got);
            tn_shape out = tn_node_shape(y);
            int64_t  stride[TN_MAX_RANK];
            size_t   wrong = 0;
            tn_shape_strides(&s, stride);
            for (size_t i = 0; i < n; i++) {
                size_t from = 0, rest = i;
                for (int d = 3; d >= 0; d--) {
                    from += rest % (size_t)out.dim[d] * (size_t)stride[cases[c].axes[d]];
                    rest /= (size_t)out.dim[d];
                }
                wrong += memcmp(got + i * size, data + from * size, size) != 0;
            }
            CHECK_MSG(wrong == 0, "case %zu, %s: %zu elements are wrong", c,
                      tn_dtype_name(dtypes[k]), wrong);
            free(got), free(data);
        }
    }
    end();
}

TEST_MAIN
