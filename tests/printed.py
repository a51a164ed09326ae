r"""Read the formulas that the report prints: each ``\tested{name}{formula}`` of Questions 1, 2.

`FORMULAS` holds their source by name, `parts` has one parsed by SymPy, `evaluate` computes it;
`matrices` computes one that is made of matrices.
"""

import math
import re

import numpy as np
import sympy
from definitions import ROOT
from sympy.core.function import AppliedUndef
from sympy.parsing.latex import parse_latex

SECTIONS = ROOT / "written" / "sections"
TEXT = "".join(
    path.read_text(encoding="utf-8") for path in sorted(SECTIONS.glob("q[12]-*.tex"))
)
GROUP = r"\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}"  # braces in braces in braces
SPACING = r"\\[Bb]igg?[lr]?(?![a-zA-Z])|\\[,;!]|\\quad"
PLAIN = {  # what the report's own commands and spacing mean
    r"\\sum_\{\\abs\{j-i\}\\le\s*k\}": r"\\sum_{j=i-k}^{i+k}",
    r"\\alpha_\{i([jl])\}": r"\\gamma_\1",
    r"\\pi_\{ij\}": r"\\rho_j",
    r"\\smax\(\\Gamma_t\)": r"\\psi_t",
    r"\\smax\(W\)": r"\\smax",
    r"\\sigmoid(?![a-zA-Z'])": r"\\upsilon",
    r"\\mathcal O\(([a-z\d^]+)\)": r"\1",
    r"\\e(?![a-zA-Z])": "e",
    r"\\smax(?![a-zA-Z])": r"\\sigma_{\\max}",
    r"y_\{\\mathrm\{in\}\}": r"\\nu",  # SymPy takes "in" for a product
    r"y_\{\\mathrm\{out\}\}": r"\\zeta",
    r"\\(?:abs|norm)\*?" + GROUP: r"|\1|",
    r"\\(?:abs|norm)\*?\s*(\\\w+|\w)": r"|\1|",
    r"\\floor\*?" + GROUP: r"\\lfloor \1\\rfloor",
    SPACING: " ",
    r"\\frac\s*(\d|\\[a-z]+|[A-Za-z])": r"\\frac{\1}",
    r"(\\frac\{[^{}]*\})\s*(\d|\\[a-z]+|[A-Za-z])": r"\1{\2}",
}


def group(text, start):
    """Return what stands between the brace at `start` and the one that closes it."""
    depth = 0
    for end in range(start, len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[start + 1 : end]
    raise ValueError(f"no closing brace after {text[start : start + 40]!r}")


def read_formulas(text):
    """Return the source of each tested formula by its name."""
    text, formulas = re.sub(r"(?<!\\)%.*", "", text), {}
    for match in re.finditer(r"\\tested\{([\w-]+)\}(?=\{)", text):
        if match[1] in formulas:
            raise ValueError(f"two formulas are called {match[1]}")
        formulas[match[1]] = group(text, match.end())
    return formulas


FORMULAS = read_formulas(TEXT)


def without_tested(text):
    r"""Return the text with ``#`` for each tested formula, without labels and spacing."""
    while match := re.search(r"\\tested\{[\w-]+\}(?=\{)", text):
        end = match.end() + len(group(text, match.end())) + 2
        text = text[: match.start()] + "#" + text[end:]
    text = re.sub(rf"\\label\{{[^}}]*\}}|\\q?quad|{SPACING}", " ", text)
    return re.sub(r"\s+", " ", text)


def parts(formula):
    r"""Split at the relations: ``\le a = b`` is ["<=", a, "=", b], with SymPy expressions."""
    for pattern, replacement in PLAIN.items():
        formula = re.sub(pattern, replacement, formula)
    split = re.split(r"(\\le(?![a-z])|\\ge(?![a-z])|<|>|=)(?![^{]*\})", formula)
    signs = {r"\le": "<=", r"\ge": ">="}
    return [
        signs.get(s, s) if i % 2 else parse_latex(s, strict=True)
        for i, s in enumerate(split)
        if s.strip()
    ]


def evaluate(expression, values):
    """Return the value of an expression.

    Args:
        expression: SymPy's reading of a formula.
        values: numbers by symbol, ``{"x_max": 2.0, "n": 5}``; a sequence stands for a symbol
            with an index that starts at 1, ``{"w": [0.5, 2.0]}`` for w_1 and w_2.

    Raises:
        KeyError: a symbol has no value.
    """
    if isinstance(expression, (sympy.Product, sympy.Sum)):
        body, (index, first, last) = expression.args
        steps = range(int(evaluate(first, values)), int(evaluate(last, values)) + 1)
        values = {k: v for k, v in values.items() if not k.endswith(f"_{index.name}")}
        combine = math.prod if isinstance(expression, sympy.Product) else sum
        return combine(evaluate(body, values | {index.name: step}) for step in steps)
    if isinstance(expression, AppliedUndef) and expression.func.__name__ == "max":
        return max(evaluate(a, values) for a in expression.args)
    if isinstance(expression, AppliedUndef):  # m(d+1) is a product here
        factor = sympy.Symbol(expression.func.__name__)
        return evaluate(factor, values) * evaluate(expression.args[0], values)
    if expression.is_Symbol:
        name = re.sub(r"[{} ]", "", expression.name)
        if name == "e" or name in values:
            return math.e if name == "e" else values[name]
        base, _, index = name.partition("_")
        return values[base][int(evaluate(sympy.sympify(index), values)) - 1]
    if not expression.args:
        return float(expression)
    return float(expression.func(*(evaluate(a, values) for a in expression.args)))


def matrices(formula, values):
    r"""Return the value of each side of ``Q(CK)\T DV = PV``; side by side is a product.

    Args:
        formula: of sums, products, quotients by a number, ``\T``, and sums over j = 1, ..., n.
        values: by symbol (``phi`` for \phi) a number, a matrix, a column, a function, or for a
            symbol with an index a sequence; ``\cdots`` stands for nothing, so let n fit it.
    """
    formula = re.sub(r"\\sum_(?:\{j=1\}\^n|j)", r"\\sum ", re.sub(SPACING, " ", formula))
    return [side_value(side, dict(values)) for side in formula.split("=") if side.strip()]


def side_value(side, values):
    """Return the value of one side of an equation between matrices."""
    index = r"(?:_\w|_\{[^}]*\})?"
    tokens = re.findall(rf"\\[A-Za-z]+{index}|[A-Za-z]{index}|\d|[-+/(){{}}]", side)
    if "".join(tokens) != re.sub(r"\s", "", side):
        raise ValueError(f"cannot read {side!r}")
    tokens.append("")
    at = 0

    def take(expected=None):
        nonlocal at
        token, at = tokens[at], at + 1
        if expected not in (None, token):
            raise ValueError(f"{expected!r} expected before {tokens[at:]} in {side!r}")
        return token

    def total():
        result = product()
        while tokens[at] in ("+", "-"):
            result = result + product() if take() == "+" else result - product()
        return result

    def product():
        result = factor()
        while tokens[at] not in ("", "+", "-", ")", "}"):
            if tokens[at] == "/":
                take()
                result = result / factor()
                continue
            right = factor()
            scalar = np.size(result) == 1 or np.size(right) == 1
            result = result * right if scalar else result @ right
        return result

    def argument(opening="{"):
        if tokens[at] != opening:
            return float(take())
        take(opening)
        result = total()
        take({"{": "}", "(": ")"}[opening])
        return result

    def factor():
        nonlocal at
        if tokens[at] == "(":
            result = argument("(")
        elif tokens[at].isdigit():
            result = float(take())
        elif (token := take()) == "\\frac":
            result = argument() / np.asarray(argument()).item()
        elif token == "\\sqrt":
            result = math.sqrt(argument())
        elif token == "\\cdots":
            result = 1.0
        elif token == "\\sum":
            start, result = at, 0.0
            for j in range(1, values["n"] + 1):
                values["j"], at = j, start
                result = result + product()
        else:
            name, _, index = token.removeprefix("\\").partition("_")
            result = values[name]
            if index:
                step = evaluate(sympy.sympify(index.strip("{}")), values)
                result = np.asarray(result)[int(step) - 1]
                result = result.reshape(len(result), -1)  # a row is written as a column
            if callable(result):
                result = result(argument("("))
        while tokens[at] == "\\T":
            take()
            result = np.transpose(result)
        return result

    result = total()
    take("")
    return result
