r"""Read the formulas that the report prints: each ``\tested{name}{formula}`` of Questions 1, 2.

`FORMULAS` holds their source by name, `parts` has one parsed by SymPy, `evaluate` computes it.
"""

import math
import re

import sympy
from definitions import ROOT
from sympy.core.function import AppliedUndef
from sympy.parsing.latex import parse_latex

SECTIONS = ROOT / "written" / "sections"
TEXT = "".join(
    path.read_text(encoding="utf-8") for path in sorted(SECTIONS.glob("q[12]-*.tex"))
)
GROUP = r"\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}"  # braces in braces in braces
PLAIN = {  # what the report's own commands and spacing mean
    r"\\e(?![a-zA-Z])": "e",
    r"\\smax(?![a-zA-Z])": r"\\sigma_{\\max}",
    r"y_\{\\mathrm\{in\}\}": r"\\nu",  # SymPy takes "in" for a product
    r"y_\{\\mathrm\{out\}\}": r"\\zeta",
    r"\\(?:abs|norm)\*?" + GROUP: r"|\1|",
    r"\\(?:abs|norm)\*?\s*(\\\w+|\w)": r"|\1|",
    r"\\floor\*?" + GROUP: r"\\lfloor \1\\rfloor",
    r"\\[Bb]igg?[lr]?(?![a-zA-Z])|\\[,;!]|\\quad": " ",
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
    if isinstance(expression, sympy.Product):
        body, (index, first, last) = expression.args
        steps = range(int(evaluate(first, values)), int(evaluate(last, values)) + 1)
        return math.prod(evaluate(body, values | {index.name: step}) for step in steps)
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
