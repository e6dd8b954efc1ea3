/* Checkpoints: loading, saving that keeps the old file, a training that goes on from its file as if
 * it had never stopped, and averages. */
#include "failing.h"
#include "files.h"
#include "tensor/file.h"
#include "tensor/half.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>

/* ---- loading --------------------------------------------------------------------------------- */

TEST(checkpoint, floats_are_converted)
{
    static const double   wide[3] = { 1, -2.5, 0.15625 }; /* of every float type */
    tn_ctx    *ctx = new_ctx(1);
    float      f32[3];
    uint16_t   f16[3], bf16[3];
    for (int i = 0; i < 3; i++) {
        f32[i] = (float)wide[i];
        f16[i] = tn_f16_from_f32(f32[i]), bf16[i] = tn_bf16_from_f32(f32[i]);
    }
    const struct {
        tn_dtype    dtype;
        const void *data;
    } files[] = { { TN_F32, f32 }, { TN_F64, wide }, { TN_F16, f16 }, { TN_BF16, bf16 } };
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 2; k++) {
            tn_params *p = tn_params_new(ctx, k ? TN_F64 : TN_F32);
            tn_node   *w = tn_param(p, "w", TN_SHAPE(3), NULL);
            tn_safetensors_entry e = { "w", { files[i].dtype, TN_SHAPE(3) }, files[i].data };
            CHECK_INT(tn_safetensors_write(ctx, path_of(0), &e, 1, NULL, 0), TN_OK);
            CHECK_INT(tn_checkpoint_load(path_of(0), p, NULL), TN_OK);
            for (int j = 0; j < 3; j++)
                CHECK_NEAR(k ? ((double *)tn_variable_data(w))[j]
                           : ((float *)tn_variable_data(w))[j], wide[j], 0);
            tn_params_free(p);
        }
    CHECK_STR(tn_error(ctx), "");
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
    remove_files();
}

/* Tensors of dtypes that other programs have are left alone, and only asking for one is wrong. */
TEST(checkpoint, dtypes_of_others_beside)
{
    char       file[512];
    tn_ctx    *ctx = tn_ctx_new(NULL);
    tn_params *p = tn_params_new(ctx, TN_F32);
    REQUIRE(tn_param(p, "w", TN_SHAPE(2), NULL));
    size_t n = compose(file, "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                             "\"x\":{\"dtype\":\"I16\",\"shape\":[3],\"data_offsets\":[8,14]}}",
                       (char[14]){ 0 }, 14);
    CHECK_MSG(tn_checkpoint_load(file_of(0, file, n), p, NULL) == TN_OK, "%s", tn_error(ctx));
    REQUIRE(tn_param(p, "x", TN_SHAPE(3), NULL));
    CHECK_INT(tn_checkpoint_load(path_of(0), p, NULL), TN_ERR_DTYPE);
    CHECK_CONTAINS(tn_error(ctx), "x is I16 there, f32 here");
    tn_clear_error(ctx);
    CHECK_INT(tn_checkpoint_average(ctx, (const char *[]){ path_of(0) }, 1, path_of(1)),
              TN_ERR_DTYPE);
    CHECK_CONTAINS(tn_error(ctx), "x is I16, a dtype that libtensor does not have");
    tn_params_free(p);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
    remove_files();
}

TEST(checkpoint, all_or_nothing)
{
    static const float numbers[8] = { 9, 9, 9, 9, 9, 9, 9, 9 };
    static const struct {
        const char *second;
        tn_dtype    dtype;
        int64_t     columns;
        tn_status   status;
        const char *message;
    } cases[] = {
        { "other", TN_F32, 3, TN_ERR_FORMAT, "there is no b in it" },
        { "b", TN_F32, 4, TN_ERR_SHAPE, "b is [2,4] there, [2,3] here" },
        { "b", TN_I32, 3, TN_ERR_DTYPE, "b is i32 there, f32 here" },
        { "b", TN_F32, 3, TN_OK, "" },
    };
    tn_ctx    *ctx = new_ctx(1);
    tn_params *p = tn_params_new(ctx, TN_F32);
    tn_node   *a = tn_param(p, "a", TN_SHAPE(2), NULL), *b = tn_param(p, "b", TN_SHAPE(2, 3), NULL);
    REQUIRE(a && b);
    for (int i = 0; i < 4; i++) {
        tn_safetensors_entry e[3] = {
            { "a", { TN_F32, TN_SHAPE(2) }, numbers },
            { cases[i].second, { cases[i].dtype, TN_SHAPE(2, cases[i].columns) }, numbers },
            { "more", { TN_F32, TN_SCALAR }, numbers },
        };
        CHECK_INT(tn_safetensors_write(ctx, path_of(0), e, 3, NULL, 0), TN_OK);
        CHECK_INT(tn_checkpoint_load(path_of(0), p, NULL), cases[i].status);
        CHECK_CONTAINS(tn_error(ctx), cases[i].message);
        if (cases[i].status != TN_OK) CHECK_CONTAINS(tn_error(ctx), path_text[0]);
        CHECK_NEAR(*(float *)tn_variable_data(a), cases[i].status == TN_OK ? 9 : 0, 0);
        tn_clear_error(ctx);
    }
    CHECK_INT(tn_checkpoint_load(NULL, p, NULL), TN_ERR_ARG);
    tn_clear_error(ctx);
    CHECK_INT(tn_checkpoint_load(path_of(1), p, NULL), TN_ERR_IO);
    tn_clear_error(ctx);
    CHECK_INT(tn_checkpoint_load(path_of(0), NULL, NULL), TN_ERR_ARG);
    CHECK_INT(tn_checkpoint_save(path_of(0), NULL, NULL, NULL, 0), TN_ERR_ARG);
    tn_params_free(p);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
    remove_files();
}

/* A training's state as others may have written it: whatever its numbers are. */
static tn_status write_as_it_is(tn_ctx *ctx, const tn_params *p, const tn_optimizer *opt)
{
    enum { MOST = 32 };
    const tn_metadata    kind = { "libtensor.optimizer", tn_optimizer_kind(opt) };
    tn_safetensors_entry entries[MOST];
    const int            n = tn_params_count(p), n_state = tn_optimizer_state_count(opt);
    for (int i = 0; i < n + n_state && i < MOST; i++) {
        const tn_node *v = i < n ? tn_params_at(p, i) : tn_optimizer_state_at(opt, i - n);
        entries[i] = (tn_safetensors_entry){
            i < n ? tn_variable_name(v) : tn_optimizer_state_name(opt, i - n), tn_node_type(v),
            tn_variable_data(v) };
    }
    return tn_safetensors_write(ctx, path_of(0), entries, n + n_state, &kind, 1);
}

/* What cannot be of a training that went well is neither saved nor loaded, and nothing is changed;
 * what may be infinite, or no number, comes back as it was. */
TEST(checkpoint, numbers_that_are_not_finite)
{
    static const struct {
        const char *name; /* of what has the number, at 1 */
        double      x;
        const char *message; /* none: it is loaded */
    } cases[] = {
        { "a", NAN, "number 1 of a is " },         { "a", -INFINITY, "number 1 of a is -inf" },
        { "a", 3e38, "" },                         { "adam.m.a", NAN, "number 1 of adam.m.a is " },
        { "adam.v.a", NAN, "1 of adam.v.a is " },  { "adam.v.a", INFINITY, "" },
        { "ema.a", INFINITY, "1 of ema.a is inf" }, { "accumulated.a", NAN, "" },
        { "mask", -INFINITY, "" },                 { "optimizer.lr", NAN, "of optimizer.lr is " },
        { "optimizer.accumulated_count", NAN, "" },
    };
    const tn_adam_options o = { .ema_decay = 0.9, .accumulate = true };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int wide = 0; wide < 2; wide++) {
            tn_ctx       *ctx = new_ctx(1);
            tn_params    *p = tn_params_new(ctx, wide ? TN_F64 : TN_F32);
            tn_param(p, "a", TN_SHAPE(3), NULL), tn_buffer(p, "mask", TN_F32, TN_SHAPE(3));
            tn_optimizer *opt = tn_adam_new(p, &o);
            tn_node      *v = tn_params_find(p, cases[i].name);
            if (!v) v = tn_optimizer_state_find(opt, cases[i].name);
            REQUIRE(v);
            const bool is_scalar = tn_node_shape(v).rank == 0, is_good = !*cases[i].message;
            void      *data = tn_variable_data(v);
            char       was[24];
            if (tn_node_dtype(v) == TN_F32) ((float *)data)[!is_scalar] = (float)cases[i].x;
            else ((double *)data)[!is_scalar] = cases[i].x;
            memcpy(was, data, tn_variable_bytes(v));
            remove(path_of(0));
            CHECK_INT(tn_checkpoint_save(path_of(0), p, opt, NULL, 0),
                      is_good ? TN_OK : TN_ERR_FORMAT);
            CHECK_CONTAINS(tn_error(ctx), cases[i].message);
            CHECK_INT(access(path_of(0), F_OK) == 0, is_good);
            tn_clear_error(ctx);
            if (!strcmp(cases[i].name, "a"))
                CHECK_INT(tn_checkpoint_save_average(path_of(0), p, opt, NULL, 0),
                          is_good ? TN_OK : TN_ERR_FORMAT);
            tn_clear_error(ctx);
            CHECK_INT(write_as_it_is(ctx, p, opt), TN_OK);
            memset(data, 0, tn_variable_bytes(v));
            CHECK_INT(tn_checkpoint_load(path_of(0), p, opt), is_good ? TN_OK : TN_ERR_FORMAT);
            CHECK_CONTAINS(tn_error(ctx), cases[i].message);
            if (!is_good) CHECK_CONTAINS(tn_error(ctx), path_text[0]);
            CHECK_MSG((memcmp(was, data, tn_variable_bytes(v)) == 0) == is_good, "case %zu", i);
            tn_optimizer_free(opt), tn_params_free(p);
            CHECK_INT(tn_ctx_memory(ctx), 0);
            tn_ctx_free(ctx);
        }
    remove_files();
}

/* A number that the parameter's dtype is too small for. */
TEST(checkpoint, numbers_that_do_not_fit)
{
    static const double  wide[2] = { 1, 1e300 };
    tn_ctx              *ctx = new_ctx(1);
    tn_params           *p = tn_params_new(ctx, TN_F32);
    tn_node             *w = tn_param(p, "w", TN_SHAPE(2), NULL);
    tn_safetensors_entry e = { "w", { TN_F64, TN_SHAPE(2) }, wide };
    CHECK_INT(tn_safetensors_write(ctx, path_of(0), &e, 1, NULL, 0), TN_OK);
    CHECK_INT(tn_checkpoint_load(path_of(0), p, NULL), TN_ERR_FORMAT);
    CHECK_CONTAINS(tn_error(ctx), "0.safetensors: number 1 of w is inf");
    CHECK_NEAR(*(float *)tn_variable_data(w), 0, 0);
    tn_clear_error(ctx);
    const tn_import_rule rule = { .to = "w", .from = "w" };
    CHECK_INT(tn_import(path_of(0), p, &rule, 1, NULL), TN_ERR_FORMAT);
    CHECK_CONTAINS(tn_error(ctx), "0.safetensors: number 1 of w is inf");
    CHECK_NEAR(*(float *)tn_variable_data(w), 0, 0);
    tn_params_free(p);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
    remove_files();
}

TEST(checkpoint, an_optimizer_of_other_parameters_is_refused)
{
    tn_ctx       *ctx = new_ctx(1);
    tn_params    *p = tn_params_new(ctx, TN_F32), *q = tn_params_new(ctx, TN_F32);
    tn_param(p, "w", TN_SHAPE(2), NULL), tn_param(q, "w", TN_SHAPE(2), NULL);
    tn_optimizer *opt = tn_adam_new(q, &(tn_adam_options){ .ema_decay = 0.9 });
    REQUIRE(opt);
    CHECK_INT(tn_checkpoint_save(path_of(0), p, opt, NULL, 0), TN_ERR_ARG);
    CHECK_CONTAINS(tn_error(ctx), "tn_checkpoint_save: the optimizer is of another parameter set");
    tn_clear_error(ctx);
    CHECK_INT(tn_checkpoint_save_average(path_of(0), p, opt, NULL, 0), TN_ERR_ARG);
    CHECK(access(path_of(0), F_OK) != 0);
    tn_clear_error(ctx);
    CHECK_INT(tn_checkpoint_save(path_of(0), q, opt, NULL, 0), TN_OK);
    CHECK_INT(tn_checkpoint_load(path_of(0), p, opt), TN_ERR_ARG);
    CHECK_CONTAINS(tn_error(ctx), "tn_checkpoint_load: the optimizer is of another parameter set");
    tn_optimizer_free(opt), tn_params_free(p), tn_params_free(q);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
    remove_files();
}

/* In the directory of path_of. */
static int n_files(void)
{
    int  n = 0;
    DIR *d = opendir(directory);
    for (struct dirent *e; d && (e = readdir(d));) n += e->d_name[0] != '.';
    if (d) closedir(d);
    return n;
}

TEST(checkpoint, a_failed_save_keeps_the_old_file)
{
    tn_ctx    *ctx = new_ctx(1);
    tn_params *p = tn_params_new(ctx, TN_F32);
    tn_node   *w = tn_param(p, "w", TN_SHAPE(2), NULL);
    tn_variable_fill(w, 1);
    CHECK_INT(tn_checkpoint_save(path_of(0), p, NULL, NULL, 0), TN_OK);
    tn_variable_fill(w, 2);
    CHECK_INT(tn_checkpoint_load(path_of(0), p, NULL), TN_OK);
    CHECK_NEAR(*(float *)tn_variable_data(w), 1, 0);
    CHECK_INT(tn_checkpoint_save("/no/such/place/m.safetensors", p, NULL, NULL, 0), TN_ERR_IO);
    CHECK_CONTAINS(tn_error(ctx), "/no/such/place/m.safetensors");
    tn_clear_error(ctx);
    /* a disk without room: the write fails, not the open */
    struct rlimit room, none = { .rlim_cur = 4 };
    REQUIRE(getrlimit(RLIMIT_FSIZE, &room) == 0);
    none.rlim_max = room.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &none) == 0);
    tn_status s = tn_checkpoint_save(path_of(0), p, NULL, NULL, 0);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &room) == 0);
    CHECK_INT(s, TN_ERR_IO);
    CHECK_CONTAINS(tn_error(ctx), path_text[0]);
    tn_clear_error(ctx);
    CHECK_INT(tn_checkpoint_load(path_of(0), p, NULL), TN_OK);
    CHECK_INT(n_files(), 1);
    tn_params_free(p);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
    remove_files();
}

/* Two writers of one file do not meet: once the first has ended, what is there is the first's, and
 * stays so while the second still writes. */
TEST(checkpoint, two_writers_of_one_file)
{
    tn_ctx      *ctx = new_ctx(1);
    tn__new_file first, second, third;
    char         text[8] = "";
    REQUIRE(tn__new_file_open(ctx, path_of(0), &first) == TN_OK);
    tn__new_file_write(&first, "one", 3);
    REQUIRE(tn__new_file_open(ctx, path_of(0), &second) == TN_OK);
    REQUIRE(tn__new_file_open(ctx, path_of(0), &third) == TN_OK);
    CHECK_INT(tn__new_file_end(&third, false), TN_OK);
    for (int i = 0; i < 2; i++) {
        if (i == 1) tn__new_file_write(&second, "second", 6);
        CHECK_INT(tn__new_file_end(i ? &second : &first, true), TN_OK);
        FILE *f = fopen(path_text[0], "rb");
        REQUIRE(f != NULL);
        text[fread(text, 1, 7, f)] = 0;
        fclose(f);
        CHECK_STR(text, i ? "second" : "one");
    }
    CHECK_INT(n_files(), 1);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
    remove_files();
}

/* ---- going on -------------------------------------------------------------------------------- */

typedef struct training {
    tn_ctx       *ctx;
    tn_params    *p;
    tn_optimizer *opt;
    tn_program   *step;
} training;

static training training_new(int threads)
{
    training   t = { .ctx = new_ctx(threads) };
    t.p = tn_params_new(t.ctx, TN_F32);
    tn_linear l1 = tn_linear_new(t.p, "l1", 40, 70), l2 = tn_linear_new(t.p, "l2", 70, 3);
    t.opt = tn_adamw_new(t.p, &(tn_adamw_options){ .lr = 0.01, .clip_norm = 0.5,
                                                   .ema_decay = 0.9 });
    tn_graph *g = tn_graph_new(t.ctx, TN_TRAIN);
    tn_node  *x = tn_input(g, "x", TN_F32, TN_SHAPE(33, 40));
    tn_node  *h = tn_dropout(tn_gelu(tn_linear_apply(&l1, x)), 0.3);
    tn_node  *y = tn_dropout(tn_linear_apply(&l2, h), 0.1);
    t.step = tn_train_step(g, tn_mean_all(tn_square(tn_add_scalar(y, -1))), t.opt);
    tn_graph_free(g);
    float *data = tn_input_data(t.step, "x");
    for (int i = 0; data && i < 33 * 40; i++) data[i] = (float)sin(1.7 * i);
    CHECK_STR(tn_error(t.ctx), "");
    return t;
}

static void training_run(training *t, int n)
{
    for (int i = 0; i < n; i++) CHECK_INT(tn_run(t->step), TN_OK);
}

static void training_free(training *t)
{
    CHECK_STR(tn_error(t->ctx), "");
    tn_program_free(t->step);
    tn_optimizer_free(t->opt);
    tn_params_free(t->p);
    CHECK_INT(tn_ctx_memory(t->ctx), 0);
    tn_ctx_free(t->ctx);
}

static void check_same(const training *a, const training *b)
{
    for (int i = 0; i < tn_params_count(a->p); i++) {
        tn_node *x = tn_params_at(a->p, i), *y = tn_params_at(b->p, i);
        CHECK_MSG(memcmp(tn_variable_data(x), tn_variable_data(y), tn_variable_bytes(x)) == 0,
                  "%s: other bits", tn_variable_name(x));
    }
    CHECK_INT(tn_optimizer_state_count(a->opt), tn_optimizer_state_count(b->opt));
    for (int i = 0; i < tn_optimizer_state_count(a->opt); i++) {
        tn_node *x = tn_optimizer_state_at(a->opt, i), *y = tn_optimizer_state_at(b->opt, i);
        CHECK_MSG(memcmp(tn_variable_data(x), tn_variable_data(y), tn_variable_bytes(x)) == 0,
                  "%s: other bits", tn_optimizer_state_name(a->opt, i));
    }
}

/* Folders, pipes and devices are refused, not replaced; links too that lead to one. */
TEST(checkpoint, only_files_are_replaced)
{
    tn_ctx    *ctx = new_ctx(1);
    tn_params *p = tn_params_new(ctx, TN_F32);
    tn_param(p, "w", TN_SHAPE(2), NULL);
    struct stat st;
    REQUIRE(mkfifo(path_of(0), 0600) == 0 && symlink(path_text[0], path_of(1)) == 0);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(tn_checkpoint_save(path_text[i], p, NULL, NULL, 0), TN_ERR_IO);
        CHECK_CONTAINS(tn_error(ctx), path_text[i]);
        CHECK_CONTAINS(tn_error(ctx), "it is no regular file, and is not replaced");
        tn_clear_error(ctx);
    }
    CHECK(lstat(path_text[0], &st) == 0 && S_ISFIFO(st.st_mode));
    CHECK(lstat(path_text[1], &st) == 0 && S_ISLNK(st.st_mode));
    CHECK_INT(tn_checkpoint_save(directory, p, NULL, NULL, 0), TN_ERR_IO);
    CHECK_CONTAINS(tn_error(ctx), directory);
    CHECK_CONTAINS(tn_error(ctx), "it is a folder");
    tn_params_free(p);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
    remove_files();
}

/* What a link leads to is replaced, the link stays; so does the mode. */
TEST(checkpoint, a_save_follows_links)
{
    tn_ctx    *ctx = new_ctx(1);
    tn_params *p = tn_params_new(ctx, TN_F32);
    tn_node   *w = tn_param(p, "w", TN_SHAPE(2), NULL);
    struct stat st;
    /* 0 -> 1 by its name alone, 1 -> 2 by the whole path: first with no file there */
    REQUIRE(symlink("1.safetensors", path_of(0)) == 0 && symlink(path_of(2), path_of(1)) == 0);
    for (int i = 1; i <= 2; i++) {
        tn_variable_fill(w, i);
        CHECK_INT(tn_checkpoint_save(path_text[0], p, NULL, NULL, 0), TN_OK);
        for (int k = 0; k < 2; k++) CHECK(lstat(path_text[k], &st) == 0 && S_ISLNK(st.st_mode));
        CHECK(lstat(path_text[2], &st) == 0 && S_ISREG(st.st_mode));
        if (i == 2) CHECK_INT(st.st_mode & 0777, 0640);
        chmod(path_text[2], 0640);
        tn_variable_fill(w, 0);
        CHECK_INT(tn_checkpoint_load(path_text[2], p, NULL), TN_OK);
        CHECK_NEAR(*(float *)tn_variable_data(w), i, 0);
    }
    CHECK_STR(tn_error(ctx), "");
    /* a link that leads to itself; one into a folder that there is not */
    static const char *const nowhere[] = { "3.safetensors", "/no/such/place/m.safetensors" };
    for (int i = 0; i < 2; i++) {
        REQUIRE(symlink(nowhere[i], path_of(3)) == 0);
        CHECK_INT(tn_checkpoint_save(path_text[3], p, NULL, NULL, 0), TN_ERR_IO);
        CHECK_CONTAINS(tn_error(ctx), nowhere[i]);
        tn_clear_error(ctx);
        remove(path_text[3]);
    }
    tn_params_free(p);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
    remove_files();
}

TEST(checkpoint, a_training_goes_on_with_the_same_bits)
{
    training whole = training_new(1);
    training_run(&whole, 6);
    for (int threads = 1; threads <= 3; threads += 2) {
        training first = training_new(threads);
        training_run(&first, 3);
        CHECK_INT(tn_checkpoint_save(path_of(0), first.p, first.opt, NULL, 0), TN_OK);
        training_free(&first);
        training rest = training_new(4 - threads);
        CHECK_INT(tn_checkpoint_load(path_of(0), rest.p, rest.opt), TN_OK);
        CHECK_INT(tn_optimizer_steps(rest.opt), 3);
        training_run(&rest, 3);
        check_same(&whole, &rest);
        training_free(&rest);
    }
    /* a model's file has no moments */
    CHECK_INT(tn_checkpoint_save(path_of(0), whole.p, NULL, NULL, 0), TN_OK);
    CHECK_INT(tn_checkpoint_load(path_of(0), whole.p, whole.opt), TN_ERR_FORMAT);
    CHECK_CONTAINS(tn_error(whole.ctx), "optimizer.");
    tn_clear_error(whole.ctx);
    training_free(&whole);
    remove_files();
}

TEST(checkpoint, an_optimizer_of_another_kind_is_refused)
{
    const tn_metadata text = { "note", "1" };
    tn_ctx           *ctx = new_ctx(1);
    tn_params        *p = tn_params_new(ctx, TN_F32);
    tn_node          *w = tn_param(p, "w", TN_SHAPE(3), NULL);
    tn_optimizer     *decoupled = tn_adamw_new(p, NULL), *adam = tn_adam_new(p, NULL),
        *sgd = tn_sgd_new(p, NULL);
    REQUIRE(w && decoupled && adam && sgd);
    CHECK_INT(tn_checkpoint_save(path_of(0), p, decoupled, &text, 1), TN_OK);
    tn_variable_fill(w, 5);
    CHECK_INT(tn_checkpoint_load(path_of(0), p, adam), TN_ERR_FORMAT);
    CHECK_CONTAINS(tn_error(ctx), "its optimizer is adamw, not adam");
    CHECK_NEAR(((float *)tn_variable_data(w))[0], 5, 0);
    tn_clear_error(ctx);
    CHECK_INT(tn_checkpoint_load(path_of(0), p, sgd), TN_ERR_FORMAT);
    tn_clear_error(ctx);
    CHECK_INT(tn_checkpoint_load(path_of(0), p, NULL), TN_OK);
    /* what a file had comes with it when it is saved again */
    tn_safetensors *f = tn_safetensors_open(ctx, path_of(0));
    int             n = 0;
    const tn_metadata *all = tn_safetensors_all_metadata(f, &n);
    CHECK_INT(n, 2);
    CHECK_INT(tn_checkpoint_save(path_of(1), p, sgd, all, n), TN_OK);
    tn_safetensors_close(f);
    CHECK_INT(tn_checkpoint_load(path_of(1), p, sgd), TN_OK);
    CHECK_INT(tn_checkpoint_save(path_of(1), p, sgd, NULL, 1), TN_ERR_ARG);
    tn_optimizer_free(decoupled), tn_optimizer_free(adam), tn_optimizer_free(sgd);
    tn_params_free(p), tn_ctx_free(ctx);
    remove_files();
}

/* ---- averages -------------------------------------------------------------------------------- */

TEST(checkpoint, averages)
{
    tn_ctx    *ctx = new_ctx(1);
    tn_params *p = tn_params_new(ctx, TN_F32);
    tn_node   *w = tn_param(p, "w", TN_SHAPE(2), NULL), *n = tn_buffer(p, "n", TN_I64, TN_SCALAR);
    for (int i = 0; i < 3; i++) {
        char text[2] = { (char)('0' + i), 0 };
        tn_variable_fill(w, i * i);
        tn_variable_fill(n, 100 + i);
        CHECK_INT(tn_checkpoint_save(path_of(i), p, NULL, &(tn_metadata){ "which", text }, 1),
                  TN_OK);
    }
    const char *paths[3] = { path_of(0), path_of(1), path_of(2) };
    CHECK_INT(tn_checkpoint_average(ctx, paths, 3, path_of(3)), TN_OK);
    CHECK_INT(tn_checkpoint_load(path_of(3), p, NULL), TN_OK);
    CHECK_NEAR(*(float *)tn_variable_data(w), (float)(5.0 / 3), 0);
    CHECK_INT(*(int64_t *)tn_variable_data(n), 102); /* counters are the last file's */
    tn_safetensors *f = tn_safetensors_open(ctx, path_of(3));
    CHECK_STR(tn_safetensors_metadata(f, "which"), "2");
    tn_safetensors_close(f);

    tn_params *q = tn_params_new(ctx, TN_F32);
    tn_param(q, "w", TN_SHAPE(3), NULL);
    tn_buffer(q, "n", TN_I64, TN_SCALAR);
    CHECK_INT(tn_checkpoint_save(path_of(1), q, NULL, NULL, 0), TN_OK);
    CHECK_INT(tn_checkpoint_average(ctx, paths, 3, path_of(3)), TN_ERR_SHAPE);
    CHECK_CONTAINS(tn_error(ctx), path_text[1]);
    CHECK_CONTAINS(tn_error(ctx), "w is [3] there, [2] in the last file");
    tn_clear_error(ctx);
    remove(path_of(1));
    CHECK_INT(tn_checkpoint_average(ctx, paths, 3, path_of(3)), TN_ERR_IO);
    tn_clear_error(ctx);
    CHECK_INT(tn_checkpoint_average(ctx, (const char *[]){ path_of(0), NULL }, 2, path_of(3)),
              TN_ERR_ARG);
    tn_clear_error(ctx);
    CHECK_INT(tn_checkpoint_average(ctx, paths, 0, path_of(3)), TN_ERR_ARG);
    tn_params_free(p), tn_params_free(q);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
    remove_files();
}

TEST(checkpoint, averages_of_a_training)
{
    training t = training_new(1);
    training_run(&t, 4);
    CHECK_INT(tn_checkpoint_save_average(path_of(0), t.p, t.opt, NULL, 0), TN_OK);
    CHECK_INT(tn_checkpoint_load(path_of(0), t.p, NULL), TN_OK);
    tn_node *w = tn_params_find(t.p, "l1.w"), *average = tn_optimizer_state_find(t.opt, "ema.l1.w");
    REQUIRE(w && average);
    CHECK(memcmp(tn_variable_data(w), tn_variable_data(average), tn_variable_bytes(w)) == 0);
    tn_optimizer *none = tn_sgd_new(t.p, NULL);
    CHECK_INT(tn_checkpoint_save_average(path_of(0), t.p, none, NULL, 0), TN_ERR_STATE);
    tn_clear_error(t.ctx);
    tn_optimizer_free(none);
    training_free(&t);
    remove_files();
}

/* ---- without memory -------------------------------------------------------------------------- */

static bool save_load_average(tn_ctx *ctx)
{
    tn_params    *p = tn_params_new(ctx, TN_F32);
    tn_linear     l = tn_linear_new(p, "l", 3, 2);
    tn_optimizer *opt = l.w && l.b ? tn_adam_new(p, NULL) : NULL;
    tn_metadata text = { "a", "b" };
    bool ok = opt && tn_checkpoint_save(path_of(0), p, opt, &text, 1) == TN_OK &&
              tn_checkpoint_load(path_of(0), p, opt) == TN_OK &&
              tn_checkpoint_average(ctx, (const char *[]){ path_of(0), path_of(0) }, 2,
                                    path_of(1)) == TN_OK;
    tn_optimizer_free(opt);
    tn_params_free(p);
    return ok;
}

TEST(checkpoint, each_allocation_may_fail)
{
    check_each_allocation(save_load_average);
    remove_files();
}

TEST_MAIN
