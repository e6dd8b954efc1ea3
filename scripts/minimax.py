#!/usr/bin/env python3
"""Makes tensor/vmath_poly.h: the polynomials and constants of the vector mathematics.

Each polynomial is the minimax fit of a function on an interval, found by the Remez exchange in 60
digits and rounded one coefficient at a time, the lowest first; where the argument has one sign, the
others are fitted again after each, so that they take up its error. Then one unit more or less is
tried in the last places. Needs Python 3 and mpmath (gmpy2 makes it faster); takes a minute.

    python3 scripts/minimax.py > tensor/vmath_poly.h     all of them
    python3 scripts/minimax.py --errors exp              those named exp.., only their errors
"""
import sys
from mpmath import mp, mpf, matrix, lu_solve, log, exp, expm1, log1p, sin, cos, tanh, atan, asin
from mpmath import sqrt, cbrt, erfc, pi, nstr, frexp, ldexp, nint, polyval

mp.dps = 60


def rounded(c, bits):
    """c to `bits` significant bits, to nearest."""
    if c == 0:
        return mpf(0)
    m, e = frexp(c)
    return ldexp(nint(ldexp(m, bits)), int(e) - bits)


def chebyshev(lo, hi, count):
    """Points of [lo, hi], dense near the ends."""
    middle, half, step = (lo + hi) / 2, (hi - lo) / 2, pi / (2 * count)
    return [middle - half * cos(step * (2 * i + 1)) for i in range(count)]


# ---- the exchange ----------------------------------------------------------------------------


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
    """c that minimises max |weight (value - sum c_j t^j)|; powers[i][j] is t_i^j."""
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
        error = errors(c, values, weights, powers)
        if max(abs(e) for e in error) <= abs(x[n]) * mpf('1.001'):
            break
        at = exchange(error, n + 1)
    return c


def errors(c, values, weights, powers):
    return [w * (v - sum(x * y for x, y in zip(c, t))) for v, w, t in zip(values, weights, powers)]


def polish(c, bits, values, weights, powers, fixed=0):
    """Moves coefficients, from c[fixed] on, by units of the last place, one or two at once, while
    that makes the largest error smaller. Gives that error too."""
    error = [float(e) for e in errors(c, values, weights, powers)]
    units = [ldexp(mpf(1), int(frexp(x)[1]) - bits) for x in c]
    effects = [[float(w * u * t[j]) for w, t in zip(weights, powers)] for j, u in enumerate(units)]
    singles = [((j, sign),) for j in range(fixed, len(c)) for sign in (-1, 1)]
    moves = singles + [a + b for a in singles for b in singles if a[0][0] < b[0][0]]
    worst, better = max(abs(e) for e in error), True
    at = sorted(range(len(error)), key=lambda i: -abs(error[i]))
    while better:
        better = False
        for move in moves:
            change = [(sign, effects[j]) for j, sign in move]
            most = 0
            for i in at:            # the largest errors first: most moves fail there at once
                most = max(most, abs(error[i] - sum(s * e[i] for s, e in change)))
                if most >= worst * 0.9999:
                    break
            else:
                error = [e - sum(s * f[i] for s, f in change) for i, e in enumerate(error)]
                at.sort(key=lambda i: -abs(error[i]))
                c = [x + units[j] * sum(s for k, s in move if k == j) for j, x in enumerate(c)]
                worst, better = most, True
    return c, mpf(worst)


# ---- polynomials -----------------------------------------------------------------------------


class Poly:
    """value(p) ~ sum c_j at(p)^j for p in [lo, hi], the error weighted by weight(p). Evaluated in
    f32 or f64 by its name; those for f32 in f64 have _wide in it."""

    def __init__(self, name, text, degree, lo, hi, value, weight, at=lambda p: p):
        self.name, self.text, self.degree, self.lo, self.hi = name, text, degree, mpf(lo), mpf(hi)
        self.value, self.weight, self.at = value, weight, at
        self.bits = 24 if name.endswith('f32') else 53


def fit(poly):
    """The rounded coefficients of a polynomial and its largest weighted error."""
    n = poly.degree + 1
    points = [poly.lo] + chebyshev(poly.lo, poly.hi, 24 * n) + [poly.hi]
    points = [p for p in points if abs(p) > mpf(10) ** -30]
    values = [poly.value(p) for p in points]
    weights = [abs(poly.weight(p)) for p in points]
    at = [poly.at(p) for p in points]
    powers = [[t ** j for j in range(n)] for t in at]
    c = remez(values, weights, powers)
    for j in range(n):
        if at[0] * at[-1] > 0:      # with t = 0 inside, higher powers have no unique best fit
            rest = [v - sum(x * y for x, y in zip(c[:j], t)) for v, t in zip(values, powers)]
            c[j:] = remez(rest, weights, [t[j:] for t in powers])
        c[j] = rounded(c[j], poly.bits)
    return polish(c, poly.bits, values, weights, powers)


def square(p):
    return p * p


def exp_poly(name, degree):
    return Poly(name, '(e^r - 1 - r) / r^2, |r| <= log(2) / 2', degree, '-0.3468', '0.3468',
                lambda r: (expm1(r) - r) / r ** 2, lambda r: r ** 2 / expm1(r))


def exp2_poly(name, degree):
    return Poly(name, '(2^f - 1) / f, |f| <= 1/2', degree, '-0.5001', '0.5001',
                lambda f: expm1(f * log(2)) / f, lambda f: f / exp(f * log(2)))


def log_poly(name, degree):
    return Poly(name, '(log(1 + f) - f + f^2 / 2) / f^3, sqrt(1/2) <= 1 + f <= sqrt(2)', degree,
                sqrt(mpf(1) / 2) - 1, sqrt(mpf(2)) - 1,
                lambda f: (log1p(f) - f + f * f / 2) / f ** 3, lambda f: f ** 3 / log1p(f))


def log1p_unit_poly(name, degree):
    return Poly(name, '(log(1 + e) - e) / e^2 in e - 1/2, 0 <= e <= 1', degree, 0, 1,
                lambda e: (log1p(e) - e) / e ** 2, lambda e: e ** 2 / log1p(e),
                lambda e: e - mpf(1) / 2)


def atanh_poly(name, degree, terms):
    """2 atanh(s) = log((1 + s) / (1 - s)) without the first terms of its series."""
    k, text = 2 * terms + 1, ' - 2 s' + (' - 2 s^3 / 3' if terms == 2 else '')

    def rest(s):
        return log((1 + s) / (1 - s)) - sum(2 * s ** j / j for j in range(1, k, 2))
    return Poly(name, '(2 atanh(s)%s) / s^%d in s^2, |s| <= 3 - 2 sqrt(2)' % (text, k), degree,
                0, '0.1716', lambda s: rest(s) / s ** k, lambda s: s ** k / atanh2(s), square)


def atanh2(s):
    return log((1 + s) / (1 - s))


def odd_poly(name, degree, hi, function, word):
    """An odd function that begins with x, without that."""
    return Poly(name, '(%s(x) - x) / x^3 in x^2, |x| <= %s' % (word, hi), degree, 0, hi,
                lambda x: (function(x) - x) / x ** 3, lambda x: x ** 3 / function(x), square)


def cos_poly(name, degree):
    return Poly(name, '(cos(x) - 1 + x^2 / 2) / x^4 in x^2, |x| <= 0.8', degree, 0, '0.8',
                lambda x: (cos(x) - 1 + x * x / 2) / x ** 4, lambda x: x ** 4 / cos(x), square)


def icbrt_poly(name, degree):
    return Poly(name, 'y^(-1/3), 1/2 <= y <= 4', degree, '0.5', 4, lambda y: 1 / cbrt(y), cbrt)


def erf_poly(name, degree):
    return Poly(name, 'erf(x) / x - 1 in x^2, |x| <= 1', degree, 0, 1,
                lambda x: (1 - erfc(x)) / x - 1, lambda x: x / (1 - erfc(x)), square)


POLYS = [
    exp_poly('exp_f32', 5),
    exp_poly('exp_f64', 10),
    exp_poly('exp_f32_wide', 6),
    exp2_poly('exp2_f32', 5),
    log_poly('log_f32', 8),
    log1p_unit_poly('log1p_unit_f32', 8),
    log1p_unit_poly('log1p_unit_f64', 21),
    odd_poly('tanh_f32', 4, '0.6', tanh, 'tanh'),
    atanh_poly('atanh_f64', 6, 1),
    atanh_poly('atanh_f32_wide', 3, 1),
    atanh_poly('atanh5_f64', 6, 2),
    odd_poly('sin_f32_wide', 4, '1.6', sin, 'sin'),
    odd_poly('sin_quarter_f32_wide', 3, '0.8', sin, 'sin'),
    odd_poly('sin_quarter_f64', 6, '0.8', sin, 'sin'),
    cos_poly('cos_quarter_f32_wide', 3),
    cos_poly('cos_quarter_f64', 6),
    odd_poly('atan_f32', 4, '0.5', atan, 'atan'),
    odd_poly('atan_f64', 12, '0.5', atan, 'atan'),
    odd_poly('asin_f32', 5, '0.5', asin, 'asin'),
    odd_poly('asin_f64', 12, '0.5', asin, 'asin'),
    icbrt_poly('icbrt_f32', 5),
    icbrt_poly('icbrt_f64', 5),
    erf_poly('erf_f32', 6),
    erf_poly('erf_f64', 13),
]

# ---- quotients -------------------------------------------------------------------------------


class Rational:
    """1 / f(p) ~ slope p + sum c_j p^j / sum d_j p^j for p in [0, hi], relative error; c_0 / d_0 is
    1 / f(0), exactly, with d_0 = 3/4 rather than 1: near 0, where f has just left a power of two,
    its last place is fine, and so should be those of the sums."""

    def __init__(self, name, text, degrees, hi, f, slope):
        self.name, self.text, self.degrees, self.hi, self.f = name, text, degrees, mpf(hi), f
        self.bits = 24 if name.endswith('f32') else 53
        self.slope = rounded(slope, self.bits)


def remez_rational(points, values, weights, n, m, c0):
    """As remez for a quotient with the first coefficients c0 and 1: the level times the denominator
    is iterated until it stands still."""
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
                a[i, size] = (-1) ** i / weights[k] * polyval(d[::-1], t)
                b[i] = v - c0
            x = lu_solve(a, b)
            d = [mpf(1)] + [x[n + j] for j in range(m)]
        c = [c0] + [x[j] for j in range(n)]
        error = [w * (v - polyval(c[::-1], t) / polyval(d[::-1], t))
                 for t, v, w in zip(points, values, weights)]
        if max(abs(e) for e in error) <= abs(x[size]) * mpf('1.01'):
            break
        at = exchange(error, size + 1)
    return c, d


def fit_rational(rational):
    """The rounded coefficients of numerator and denominator, and the largest relative error."""
    (n, m), k, hi, bits = rational.degrees, mpf(3), rational.hi, rational.bits
    points = chebyshev(mpf(-1), (hi - k) / (hi + k), 12 * (n + m))
    points = [k * (1 + t) / (1 - t) for t in points] + [hi]         # dense near 0, thin far out
    weights = [rational.f(t) for t in points]
    values = [1 / w - rational.slope * t for t, w in zip(points, weights)]
    c0 = rounded(1 / rational.f(mpf(0)), bits)
    c, d = remez_rational(points, values, weights, n, m, c0)
    c, d = ([rounded(x * 3 / 4, bits) for x in xs] for xs in (c, d))
    powers = [[t ** j for j in range(max(n, m) + 1)] for t in points]
    for _ in range(4):                      # each with the other held fixed: its weights are known
        below = [sum(x * y for x, y in zip(d, t)) for t in powers]
        c, error = polish(c, bits, [v * b for v, b in zip(values, below)],
                          [w / b for w, b in zip(weights, below)], powers, 1)
        above = [sum(x * y for x, y in zip(c, t)) for t in powers]
        d, error = polish(d, bits, [a / v for a, v in zip(above, values)],
                          [w * v * v / a for v, w, a in zip(values, weights, above)], powers, 1)
    return c, d, error


def erfcx(x):
    return exp(x * x) * erfc(x)


def mills(x):
    return erfcx(x / sqrt(2)) / 2


def erfc_rational(name, degrees, hi):
    return Rational(name, 'g in erfc(x) = e^(-x^2) / (sqrt(pi) x + g), 0 <= x <= ' + hi,
                    degrees, hi, erfcx, sqrt(pi))


def normal_rational(name, degrees, hi):
    return Rational(name, 'g in P(X > x) = e^(-x^2 / 2) / (sqrt(2 pi) x + g), 0 <= x <= ' + hi,
                    degrees, hi, mills, sqrt(2 * pi))


RATIONALS = [
    erfc_rational('erfc_f32', (4, 5), '10.25'),
    erfc_rational('erfc_f64', (9, 10), '27.5'),
    normal_rational('normal_f32', (4, 5), '14.5'),
    normal_rational('normal_f64', (9, 10), '38.75'),
]

# ---- constants -------------------------------------------------------------------------------

# (what it is, value, names of its parts, their bits in f32, and in f64). A short first part is one
# whose product with an exponent, or with the upper half of a mantissa, is exact.
LOG10_2, CUBE = log(2) / log(10), mpf('0.044715') * sqrt(8 / pi)
CONSTANTS = [
    ('log(2), the first part short', log(2), 'LN2_HI LN2_LO', (15, 24), (42, 53)),
    ('1 / log(2), the first part short', 1 / log(2), 'LOG2E_HI LOG2E_LO', (12, 24), (26, 53)),
    ('1 / log(10), the first part short', 1 / log(10), 'LOG10E_HI LOG10E_LO', (12, 24), (26, 53)),
    ('log10(2), the first part short', LOG10_2, 'LOG10_2_HI LOG10_2_LO', (15, 24), (42, 53)),
    ('1 / log(2)', 1 / log(2), 'LOG2E', (24,), (53,)),
    ('log(2)', log(2), 'LN2 LN2_REST', (24, 24), (53, 53)),
    ('pi / 2', pi / 2, 'HALF_PI HALF_PI_REST', (24, 24), (53, 53)),
    ('pi / 4, the first part short', pi / 4, 'QUARTER_PI_HI QUARTER_PI_LO', (21, 24), (50, 53)),
    ('1 / sqrt(2 pi)', 1 / sqrt(2 * pi), 'INV_ROOT_2PI', (24,), (53,)),
    ('sqrt(pi)', sqrt(pi), 'ROOT_PI', (24,), (53,)),
    ('sqrt(2 pi)', sqrt(2 * pi), 'ROOT_2PI', (24,), (53,)),
    ('sqrt(8 / pi)', sqrt(8 / pi), 'ROOT_8_PI', (24,), (53,)),
    ('0.044715 sqrt(8 / pi)', CUBE, 'GELU_CUBE', (24,), (53,)),
    ('sqrt(8 / pi) / log(2)', sqrt(8 / pi) / log(2), 'ROOT_8_PI_LOG2E', (24,), ()),
    ('0.044715 sqrt(8 / pi) / log(2)', CUBE / log(2), 'GELU_CUBE_LOG2E', (24,), ()),
    ('2/3', mpf(2) / 3, 'TWO_THIRDS TWO_THIRDS_REST', (), (53, 53)),
    ('1 / pi', 1 / pi, 'INV_PI', (), (53,)),
    ('2 / pi', 2 / pi, 'TWO_OVER_PI', (), (53,)),
    ('pi / 2, all but the last short', pi / 2, 'HALF_PI_1 HALF_PI_2 HALF_PI_3', (), (50, 50, 53)),
]


def c_constants():
    for what, value, names, *bits in CONSTANTS:
        print('/* %s */' % what)
        for real, suffix, sizes in zip(('float', 'double'), ('F32', 'F64'), bits):
            rest = value
            for name, size in zip(names.split(), sizes):
                part = rounded(rest, size)
                rest -= part
                print('#define TN__%s_%s %s' % (name, suffix, literal(part, real)))
    with mp.workprec(1400):
        bits = int(mp.floor(ldexp(2 / +pi, 1280)))
    words = ['0x%016x' % (bits >> 64 * i & (1 << 64) - 1) for i in range(19, -1, -1)]
    print('/* 2 / pi in binary, from the first bit after the point; a word of zeros before it */')
    print('#define TN__TWO_OVER_PI_BITS \\\n    0, ' +
          ', \\\n    '.join(', '.join(words[i:i + 4]) for i in range(0, 20, 4)))


# ---- C ---------------------------------------------------------------------------------------

HEADER = """\
/* The polynomials and constants of tensor/vmath.h, made by scripts/minimax.py: do not edit. The
 * bound beside a polynomial is that of its largest error relative to the function made from it. */
#ifndef TN_TENSOR_VMATH_POLY_H
#define TN_TENSOR_VMATH_POLY_H

#include "tensor/vmath_base.h"
"""


def literal(c, real):
    digits, suffix = (9, 'f') if real == 'float' else (17, '')
    return nstr(c, digits, strip_zeros=False, min_fixed=-3, max_fixed=3) + suffix


def horner(name, real, fma, t, c):
    print('    %s %s = %s;' % (real, name, literal(c[-1], real)))
    for x in reversed(c[:-1]):
        print('    %s = %s(%s, %s, %s, fused);' % (name, fma, name, t, literal(x, real)))


def c_function(name, comment, bits, c):
    """Horner's rule; from degree 6 on as two chains, of the even and the odd powers."""
    real, fma = ('float', 'tn__fma_f32') if bits == 24 else ('double', 'tn__fma_f64')
    print('\n/* %s */\nTN_INLINE %s tn__poly_%s(%s t, int fused)\n{' % (comment, real, name, real))
    if len(c) < 7:
        horner('p', real, fma, 't', c)
        print('    return p;\n}')
    else:
        print('    const %s u = t * t;' % real)
        horner('even', real, fma, 'u', c[0::2])
        horner('odd', real, fma, 'u', c[1::2])
        print('    return %s(odd, t, even, fused);\n}' % fma)


def main(args):
    errors_only = args[:1] == ['--errors']
    names = args[1:] if errors_only else args
    if not errors_only:
        print(HEADER)
        c_constants()
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
            name = poly.name[:-4] + '_%s' + poly.name[-4:]
            text = '%s; %s. The numerator' % (poly.text, bound)
            c_function(name % 'num', text, poly.bits, c[0])
            c_function(name % 'den', 'Its denominator', poly.bits, c[1])
        else:
            c_function(poly.name, '%s; %s' % (poly.text, bound), poly.bits, c[0])
    if not errors_only:
        print('\n#endif')


if __name__ == '__main__':
    main(sys.argv[1:])
