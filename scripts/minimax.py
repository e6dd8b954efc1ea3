#!/usr/bin/env python3
"""Makes tensor/vmath_poly.h: the polynomials of the vector mathematics.

Each one is the minimax fit of a function on an interval, found by the Remez exchange in 60 digits
and rounded one coefficient at a time, the lowest first; where the argument has one sign, the others
are fitted again after each, so that they take up its error. Then the last places are tried. Needs Python 3 and mpmath (gmpy2 makes it faster).

    python3 scripts/minimax.py > tensor/vmath_poly.h     all of them
    python3 scripts/minimax.py --errors exp              those named exp.., only their errors
"""
import struct
import sys
from mpmath import mp, mpf, matrix, lu_solve, log, exp, expm1, log1p, sin, cos, tanh, atan, asin
from mpmath import sqrt, cbrt, erfc, pi, nstr, frexp, ldexp, nint, taylor

mp.dps = 60


def rounded(c, bits):
    """c to `bits` significant bits, to nearest."""
    if c == 0:
        return mpf(0)
    m, e = frexp(c)
    return ldexp(nint(ldexp(m, bits)), int(e) - bits)


def exchange(error, count):
    """Indices of `count` alternating extrema of the error, the largest that there are."""
    runs = []
    for i, e in enumerate(error):
        if e == 0:
            continue
        if runs and (error[runs[-1]] > 0) == (e > 0):
            if abs(e) > abs(error[runs[-1]]):
                runs[-1] = i
        else:
            runs.append(i)
    while len(runs) > count:
        if len(runs) == count + 1:
            runs.pop(0 if abs(error[runs[0]]) < abs(error[runs[-1]]) else -1)
        else:
            k = min(range(len(runs) - 1),
                    key=lambda i: min(abs(error[runs[i]]), abs(error[runs[i + 1]])))
            del runs[k:k + 2]
    if len(runs) < count:
        raise ArithmeticError('too few alternations')
    return runs


def remez(values, weights, powers):
    """c that minimises max |weight * (value - sum_j c_j t^j)|, and that max; powers[i] = t_i^j's."""
    n, last = len(powers[0]), len(values) - 1
    at = [last * i // n for i in range(n + 1)]
    for _ in range(40):
        a, b = matrix(n + 1, n + 1), matrix(n + 1, 1)
        for i, p in enumerate(at):
            for j in range(n):
                a[i, j] = powers[p][j]
            a[i, n] = (-1) ** i / weights[p]
            b[i] = values[p]
        x = lu_solve(a, b)
        c = [x[j] for j in range(n)]
        error = [w * (v - sum(cj * tj for cj, tj in zip(c, t)))
                 for v, w, t in zip(values, weights, powers)]
        worst = max(abs(e) for e in error)
        if worst <= abs(x[n]) * mpf('1.001'):
            break
        at = exchange(error, n + 1)
    return c, worst


def fit(poly):
    """The rounded coefficients of a polynomial and its largest weighted error."""
    n, lo, hi = poly.degree + 1, mpf(poly.lo), mpf(poly.hi)
    count = 24 * n
    points = [(lo + hi) / 2 - (hi - lo) / 2 * cos(pi * (i + mpf(1) / 2) / count) for i in range(count)]
    points = [lo] + [p for p in points if abs(p) > mpf(10) ** -30] + [hi]
    if lo == 0:
        points = points[1:]
    values = [poly.value(p) for p in points]
    weights = [abs(poly.weight(p)) for p in points]
    at = [poly.at(p) for p in points]
    powers = [[t ** j for j in range(n)] for t in at]
    done, _ = remez(values, weights, powers)
    for j in range(n):
        if at[0] * at[-1] > 0:      # with t = 0 inside, the higher powers alone have no unique best fit
            rest = [v - sum(cj * tj for cj, tj in zip(done[:j], t)) for v, t in zip(values, powers)]
            done[j:], _ = remez(rest, weights, [t[j:] for t in powers])
        done[j] = rounded(done[j], poly.bits)
    return polish(done, poly.bits, values, weights, powers)


def polish(c, bits, values, weights, powers, fixed=0):
    """Moves coefficients, from c[fixed] on, by units of the last place, one or two at once, while that
    makes the largest error smaller."""
    errors = [float(w * (v - sum(cj * tj for cj, tj in zip(c, t)))) for v, w, t in zip(values, weights, powers)]
    units = [ldexp(mpf(1), int(frexp(x)[1]) - bits) for x in c]
    effects = [[float(w * u * t[j]) for w, t in zip(weights, powers)] for j, u in enumerate(units)]
    singles = [((j, sign),) for j in range(fixed, len(c)) for sign in (-1, 1)]
    moves = singles + [a + b for a in singles for b in singles if a[0][0] < b[0][0]]
    worst, better = max(abs(e) for e in errors), True
    at = sorted(range(len(errors)), key=lambda i: -abs(errors[i]))
    while better:
        better = False
        for move in moves:
            change = [(sign, effects[j]) for j, sign in move]
            most = 0
            for i in at:                    # the largest errors first: most moves fail there at once
                most = max(most, abs(errors[i] - sum(s * e[i] for s, e in change)))
                if most >= worst * 0.9999:
                    break
            else:
                errors = [e - sum(s * f[i] for s, f in change) for i, e in enumerate(errors)]
                at.sort(key=lambda i: -abs(errors[i]))
                c = [x + sum(s * u for k, s in move if k == j) for j, (x, u) in enumerate(zip(c, units))]
                worst, better = most, True
    return c, mpf(worst)


class Poly:
    """value(p) ~ sum c_j at(p)^j for p in [lo, hi], error weighted by weight(p)."""

    def __init__(self, name, text, degree, lo, hi, value, weight, at=lambda p: p,
                 in_double=False):
        self.name, self.text, self.degree, self.lo, self.hi = name, text, degree, lo, hi
        self.value, self.weight, self.at = value, weight, at
        self.bits = 24 if 'f32' in name and not in_double else 53


def near_zero(f, terms):
    """f, or its Taylor sum `terms` (a function) where p is so small that f would lose its digits."""
    return lambda p: terms(p) if abs(p) < mpf(10) ** -12 else f(p)


def square(p):
    return p * p


def erfcx(x):
    return exp(x * x) * erfc(x)


HALF_LN2 = mpf('0.3468')            # a little more than ln(2) / 2, for a rounded quotient
LOG_LO, LOG_HI = sqrt(mpf(1) / 2) - 1, sqrt(mpf(2)) - 1


def exp_poly(name, degree, in_double=False):
    return Poly(name, '(e^r - 1 - r) / r^2, |r| <= ln(2) / 2', degree, -HALF_LN2, HALF_LN2,
                lambda r: (expm1(r) - r) / r ** 2, lambda r: r ** 2 / expm1(r), in_double=in_double)


def log_poly(name, degree):
    return Poly(name, '(log(1 + f) - f + f^2 / 2) / f^3, sqrt(1/2) <= 1 + f <= sqrt(2)', degree,
                LOG_LO, LOG_HI, lambda f: (log1p(f) - f + f * f / 2) / f ** 3,
                lambda f: f ** 3 / log1p(f))


def log1p_unit_poly(name, degree):
    return Poly(name, '(log(1 + e) - e) / e^2 in e - 1/2, 0 <= e <= 1', degree, 0, 1,
                lambda e: (log1p(e) - e) / e ** 2, lambda e: e ** 2 / log1p(e),
                lambda e: e - mpf(1) / 2)


def tanh_poly(name, degree, hi):
    return Poly(name, '(tanh(x) - x) / x^3 in x^2, |x| <= ' + hi, degree, 0, mpf(hi),
                lambda x: (tanh(x) - x) / x ** 3, lambda x: x ** 3 / tanh(x), square)


def atanh_poly(name, degree, in_double=False):
    hi = mpf('0.1716')
    return Poly(name, '(log((1 + s) / (1 - s)) - 2 s) / s^3 in s^2, |s| <= 3 - 2 sqrt(2)', degree, 0, hi,
                lambda s: (log((1 + s) / (1 - s)) - 2 * s) / s ** 3,
                lambda s: s ** 3 / log((1 + s) / (1 - s)), square, in_double)


def atanh5_poly(name, degree):
    return Poly(name, '(log((1 + s) / (1 - s)) - 2 s - 2 s^3 / 3) / s^5 in s^2, |s| <= 3 - 2 sqrt(2)',
                degree, 0, mpf('0.1716'),
                lambda s: (log((1 + s) / (1 - s)) - 2 * s - 2 * s ** 3 / 3) / s ** 5,
                lambda s: s ** 5 / log((1 + s) / (1 - s)), square)


def sin_poly(name, degree, hi, text, in_double=False):
    return Poly(name, '(sin(r) - r) / r^3 in r^2, |r| <= ' + text, degree, 0, hi,
                lambda r: (sin(r) - r) / r ** 3, lambda r: r ** 3 / sin(r), square, in_double)


def cos_poly(name, degree, in_double=False):
    return Poly(name, '(cos(r) - 1 + r^2 / 2) / r^4 in r^2, |r| <= 0.8', degree, 0, mpf('0.8'),
                lambda r: (cos(r) - 1 + r * r / 2) / r ** 4, lambda r: r ** 4 / cos(r), square, in_double)


def atan_poly(name, degree):
    return Poly(name, '(atan(t) - t) / t^3 in t^2, |t| <= 1/2', degree, 0, mpf('0.5'),
                lambda t: (atan(t) - t) / t ** 3, lambda t: t ** 3 / atan(t), square)


def asin_poly(name, degree):
    return Poly(name, '(asin(x) - x) / x^3 in x^2, |x| <= 1/2', degree, 0, mpf('0.5'),
                lambda x: (asin(x) - x) / x ** 3, lambda x: x ** 3 / asin(x), square)


def icbrt_poly(name, degree):
    return Poly(name, 'y^(-1/3), 1/2 <= y <= 4', degree, mpf('0.5'), 4,
                lambda y: 1 / cbrt(y), lambda y: cbrt(y))


def erf_poly(name, degree, hi):
    return Poly(name, 'erf(x) / x - 1 in x^2, |x| <= ' + hi, degree, 0, mpf(hi),
                lambda x: (1 - erfc(x)) / x - 1, lambda x: x / (1 - erfc(x)), square)


class Rational:
    """1 / f(p) ~ slope p + sum c_j p^j / sum d_j p^j for p in [0, hi], relative error; c_0 / d_0 is
    1 / f(0), exactly, with d_0 = 3/4 rather than 1: near 0, where f has just left a power of two, its
    last place is fine, and so should be those of the sums."""

    def __init__(self, name, text, degrees, hi, f, slope):
        self.name, self.text, self.degrees, self.hi, self.f = name, text, degrees, hi, f
        self.bits = 24 if 'f32' in name else 53
        self.slope = rounded(slope, self.bits)


def remez_rational(points, values, weights, n, m, c0):
    """As remez for a quotient with the first coefficients c0 and 1: the level times the denominator is
    iterated until it stands still."""
    size, last, d = n + m, len(points) - 1, [mpf(1)] + [mpf(0)] * m
    at = [last * i // size for i in range(size + 1)]
    for _ in range(40):
        for _ in range(8):
            a, b = matrix(size + 1, size + 1), matrix(size + 1, 1)
            for i, k in enumerate(at):
                t, v = points[k], values[k]
                for j in range(n):
                    a[i, j] = t ** (j + 1)
                for j in range(m):
                    a[i, n + j] = -v * t ** (j + 1)
                a[i, size] = (-1) ** i / weights[k] * mp.polyval(d[::-1], t)
                b[i] = v - c0
            x = lu_solve(a, b)
            d = [mpf(1)] + [x[n + j] for j in range(m)]
        c = [c0] + [x[j] for j in range(n)]
        error = [w * (v - mp.polyval(c[::-1], t) / mp.polyval(d[::-1], t))
                 for t, v, w in zip(points, values, weights)]
        if max(abs(e) for e in error) <= abs(x[size]) * mpf('1.01'):
            break
        at = exchange(error, size + 1)
    return c, d


def fit_rational(rational):
    """The rounded coefficients of numerator and denominator, and the largest relative error."""
    (n, m), k, hi = rational.degrees, mpf(3), mpf(rational.hi)
    count, end = 12 * (n + m), (hi - k) / (hi + k)
    points = [(end - 1) / 2 - (end + 1) / 2 * cos(pi * (i + mpf(1) / 2) / count) for i in range(count)]
    points = [k * (1 + t) / (1 - t) for t in points] + [hi]     # dense near 0, thin far out
    weights = [rational.f(t) for t in points]
    values = [1 / w - rational.slope * t for t, w in zip(points, weights)]
    c, d = remez_rational(points, values, weights, n, m, rounded(1 / rational.f(mpf(0)), rational.bits))
    c, d = ([rounded(x * 3 / 4, rational.bits) for x in xs] for xs in (c, d))
    powers = [[t ** j for j in range(max(n, m) + 1)] for t in points]
    for _ in range(4):                      # each with the other held fixed: its weights are known
        below = [sum(x * y for x, y in zip(d, t)) for t in powers]
        c, error = polish(c, rational.bits, [v * b for v, b in zip(values, below)],
                          [w / b for w, b in zip(weights, below)], powers, fixed=1)
        above = [sum(x * y for x, y in zip(c, t)) for t in powers]
        d, error = polish(d, rational.bits, [a / v for a, v in zip(above, values)],
                          [w * v * v / a for v, w, a in zip(values, weights, above)], powers, fixed=1)
    return c, d, error


POLYS = [
    exp_poly('exp_f32', 5),
    exp_poly('exp_f64', 10),
    exp_poly('exp_f32_wide', 6, in_double=True),
    log_poly('log_f32', 8),
    log1p_unit_poly('log1p_unit_f32', 8),
    log1p_unit_poly('log1p_unit_f64', 21),
    tanh_poly('tanh_f32', 4, '0.6'),
    atanh_poly('atanh_f64', 6),
    atanh_poly('atanh_f32_wide', 3, in_double=True),
    atanh5_poly('atanh5_f64', 6),
    sin_poly('sin_f32_wide', 4, mpf('1.6'), '1.6', in_double=True),
    sin_poly('sin_quarter_f32_wide', 3, mpf('0.8'), '0.8', in_double=True),
    sin_poly('sin_quarter_f64', 6, mpf('0.8'), '0.8'),
    cos_poly('cos_quarter_f32_wide', 3, in_double=True),
    cos_poly('cos_quarter_f64', 6),
    atan_poly('atan_f32', 4),
    atan_poly('atan_f64', 12),
    asin_poly('asin_f32', 5),
    asin_poly('asin_f64', 12),
    icbrt_poly('icbrt_f32', 5),
    icbrt_poly('icbrt_f64', 5),
    erf_poly('erf_f32', 6, '1'),
    erf_poly('erf_f64', 13, '1'),
]


def mills(x):
    return erfcx(x / sqrt(2)) / 2


RATIONALS = [
    Rational('erfc_f32', 'g with erfc(x) = e^(-x^2) / (sqrt(pi) x + g), 0 <= x <= 10.25', (4, 5), '10.25', erfcx,
             sqrt(pi)),
    Rational('erfc_f64', 'g with erfc(x) = e^(-x^2) / (sqrt(pi) x + g), 0 <= x <= 27.5', (9, 10), '27.5', erfcx,
             sqrt(pi)),
    Rational('normal_f32', 'g with P(X > x) = e^(-x^2 / 2) / (sqrt(2 pi) x + g), 0 <= x <= 14.5', (4, 5), '14.5',
             mills, sqrt(2 * pi)),
    Rational('normal_f64', 'g with P(X > x) = e^(-x^2 / 2) / (sqrt(2 pi) x + g), 0 <= x <= 38.75', (9, 10), '38.75',
             mills, sqrt(2 * pi)),
]


def parts(c, *bits):
    """c as a sum of numbers of so many bits each."""
    out = []
    for b in bits:
        out.append(rounded(c, b))
        c -= out[-1]
    return out


LOG10E, LOG10_2 = 1 / log(10), log(2) / log(10)

# (what, names, parts in f32, parts in f64). A short first part is one whose product with the integer
# exponent, or with the upper half of a mantissa, is exact.
CONSTANTS = [
    ('ln(2), the first part short', ['LN2_HI', 'LN2_LO'], parts(log(2), 15, 24), parts(log(2), 42, 53)),
    ('1 / ln(2), the first part short', ['LOG2E_HI', 'LOG2E_LO'], parts(1 / log(2), 12, 24), parts(1 / log(2), 26, 53)),
    ('1 / ln(10), the first part short', ['LOG10E_HI', 'LOG10E_LO'], parts(LOG10E, 12, 24), parts(LOG10E, 26, 53)),
    ('log10(2), the first part short', ['LOG10_2_HI', 'LOG10_2_LO'], parts(LOG10_2, 15, 24), parts(LOG10_2, 42, 53)),
    ('1 / ln(2)', ['LOG2E', 'LOG2E_REST'], parts(1 / log(2), 24, 24), parts(1 / log(2), 53, 53)),
    ('ln(2)', ['LN2', 'LN2_REST'], parts(log(2), 24, 24), parts(log(2), 53, 53)),
    ('pi / 2', ['HALF_PI', 'HALF_PI_REST'], parts(pi / 2, 24, 24), parts(pi / 2, 53, 53)),
    ('pi / 4, the first part short', ['QUARTER_PI_HI', 'QUARTER_PI_LO'], parts(pi / 4, 21, 24), parts(pi / 4, 50, 53)),
    ('1 / sqrt(2 pi)', ['INV_ROOT_2PI'], parts(1 / sqrt(2 * pi), 24), parts(1 / sqrt(2 * pi), 53)),
    ('sqrt(pi)', ['ROOT_PI'], parts(sqrt(pi), 24), parts(sqrt(pi), 53)),
    ('sqrt(2 pi)', ['ROOT_2PI'], parts(sqrt(2 * pi), 24), parts(sqrt(2 * pi), 53)),
    ('sqrt(8 / pi)', ['ROOT_8_PI'], parts(sqrt(8 / pi), 24), parts(sqrt(8 / pi), 53)),
    ('0.044715 sqrt(8 / pi)', ['GELU_CUBE'], parts(mpf('0.044715') * sqrt(8 / pi), 24), parts(mpf('0.044715') * sqrt(8 / pi), 53)),
    ('1 / pi', ['INV_PI'], None, parts(1 / pi, 53)),
    ('2 / pi', ['TWO_OVER_PI'], None, parts(2 / pi, 53)),
    ('pi / 2 in three parts, two of them of 50 bits', ['HALF_PI_1', 'HALF_PI_2', 'HALF_PI_3'], None, parts(pi / 2, 50, 50, 53)),
]

HEADER = """\
/* The polynomials of tensor/vmath.h, minimax fits made by scripts/minimax.py: do not edit. The
 * bound beside each is that of its largest error relative to the function made from it. */
#ifndef TN_TENSOR_VMATH_POLY_H
#define TN_TENSOR_VMATH_POLY_H

#include "tensor/vmath_base.h"
"""


def literal(c, real):
    return nstr(c, 9, strip_zeros=False, min_fixed=-3, max_fixed=3) + 'f' if real == 'float' else \
        nstr(c, 17, strip_zeros=False, min_fixed=-3, max_fixed=3)


def horner(out, name, real, fma, t, c):
    out.append('    %s %s = %s;' % (real, name, literal(c[-1], real)))
    for x in reversed(c[:-1]):
        out.append('    %s = %s(%s, %s, %s, fused);' % (name, fma, name, t, literal(x, real)))


def c_function(name, comment, bits, c):
    """Horner's rule; from degree 6 on as two chains, of the even and the odd powers."""
    real, fma = ('float', 'tn__fma_f32') if bits == 24 else ('double', 'tn__fma_f64')
    out = ['', '/* %s */' % comment, 'TN_INLINE %s tn__poly_%s(%s t, int fused)' % (real, name, real), '{']
    if len(c) < 7:
        horner(out, 'p', real, fma, 't', c)
        out.append('    return p;')
    else:
        out.append('    const %s u = t * t;' % real)
        horner(out, 'even', real, fma, 'u', c[0::2])
        horner(out, 'odd', real, fma, 'u', c[1::2])
        out.append('    return %s(odd, t, even, fused);' % fma)
    print('\n'.join(out + ['}']))


def c_constants():
    for what, names, f32, f64 in CONSTANTS:
        yield '/* %s */' % what
        for i, name in enumerate(names):
            if f32:
                yield '#define TN__%s_F32 %s' % (name, literal(f32[i], 'float'))
            yield '#define TN__%s_F64 %s' % (name, literal(f64[i], 'double'))
    with mp.workprec(1400):
        bits = int(mp.floor(ldexp(2 / +pi, 1280)))
    words = [bits >> (64 * i) & (1 << 64) - 1 for i in range(19, -1, -1)]
    yield '/* 2 / pi in binary, from the first bit after the point; a word of zeros before it */'
    yield '#define TN__TWO_OVER_PI_BITS \\'
    yield '    0, ' + ', \\\n    '.join(', '.join('0x%016x' % w for w in words[i:i + 3])
                                       for i in range(0, 20, 3))


def main(args):
    errors_only = args[:1] == ['--errors']
    names = args[1:] if errors_only else args
    if not errors_only:
        print(HEADER)
        print('\n'.join(c_constants()))
    for poly in POLYS + RATIONALS:
        if names and not any(poly.name.startswith(n) for n in names):
            continue
        is_rational = isinstance(poly, Rational)
        *c, error = fit_rational(poly) if is_rational else fit(poly)
        bound = '2^' + nstr(log(error, 2), 3)
        print('%-20s %s' % (poly.name, bound), file=sys.stderr)
        if errors_only:
            continue
        if is_rational:
            base, suffix = poly.name.rsplit('_', 1)
            c_function(base + '_num_' + suffix, '%s: %s, the numerator' % (poly.text, bound), poly.bits, c[0])
            c_function(base + '_den_' + suffix, 'the denominator', poly.bits, c[1])
        else:
            c_function(poly.name, '%s; %s' % (poly.text, bound), poly.bits, c[0])
    if not errors_only:
        print('\n#endif')


if __name__ == '__main__':
    main(sys.argv[1:])
