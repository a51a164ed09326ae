r"""Read the tested formulas of Questions 1 and 2, and evaluate them.

The LaTeX source marks a formula as ``\tested{name}{formula}``. `FORMULAS` has the formulas by
name, `evaluate` computes the sides of one, and `untested` finds the relations without a mark.
"""

import math
import re

import numpy as np
from definitions import ROOT

FILES = ("q1-gradients", "q1-attention", "q2-johnson-lindenstrauss", "further")
SOURCES = [ROOT / "written" / "sections" / f"{name}.tex" for name in FILES]
TEXT = re.sub(r"(?<!\\)%.*", "", "\n".join(path.read_text("utf-8") for path in SOURCES))

TAG = re.compile(r"\\tested\{([\w-]+)\}\{")
RELATION = r"\\(?:le|ge|ne|in)(?![A-Za-z])|[<>=]"
ALIASES = {  # what is one name, although it is written as a formula
    r"\frac{\partial f(x)}{\partial x}": "@gradient",
    r"\frac{\partial f}{\partial h_j}": "@layer_gradient",
    r"\frac{\partial f}{\partial h_0}": "@input_gradient",
    r"f'(x)": "@derivative",
    r"\frac{\partial x_n}{\partial x_1}": "@jacobian",
    r"\frac{\partial x_{t+1}}{\partial x_t}": "@layer_jacobian",
    r"\max_{\abs{j-i}\le k}x_j": "@maximum",
    r"\abs{U}": "@size",
}


def closing_brace(text, start):
    """Return the index of the brace that closes the group whose content begins at `start`."""
    depth = 1
    for end in range(start, len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return end
    raise ValueError(f"no closing brace after {text[start : start + 40]!r}")


def read_formulas(text):
    """Return the tested formulas by name."""
    formulas = {}
    for match in TAG.finditer(text):
        if match[1] in formulas:
            raise ValueError(f"two formulas are called {match[1]}")
        formulas[match[1]] = text[match.end() : closing_brace(text, match.end())]
    return formulas


FORMULAS = read_formulas(TEXT)


def untested(text, allowed=()):
    """Return the answers, numbered displays, theorems and tables with an unmarked relation.

    Args:
        text: LaTeX source.
        allowed: formulas that need no mark.
    """
    kinds = "answer|equation|gather|theorem|proposition|lemma|tabular"
    found = []
    for match in re.finditer(rf"\\begin\{{({kinds})\}}(.*?)\\end\{{\1\}}", text, re.S):
        region = match[2]
        while tag := TAG.search(region):
            region = (
                region[: tag.start()] + "#" + region[closing_brace(region, tag.end()) + 1 :]
            )
        region = re.sub(r"\\label\{[^}]*\}|label=", "", region)
        for formula in allowed:
            region = re.sub(rf"(?<!\w){re.escape(formula)}(?![\w/^+])", "", region)
        if re.search(RELATION + r"|\\mathcal|\\Omega", region):
            found.append(region)
    return found


def evaluate(formula, values):
    r"""Return (sides, signs) of each chain of relations, as in ``a \le b = c, d = 0``.

    Args:
        formula: LaTeX source.
        values: numbers, matrices and functions by name (``x_max`` for x_{\max}). A symbol with
            an index is a function of its index, which begins at 1.
    """
    reader = Reader(formula, values)
    chains = [reader.chain()]
    while reader.take(","):
        chains.append(reader.chain())
    reader.expect("$")
    return chains


class Reader:
    """A reader of LaTeX formulas; side by side means a product."""

    def __init__(self, formula, values):
        for latex, name in ALIASES.items():
            formula = re.sub(re.escape(latex).replace(r"\ ", r"\s*"), name, formula)
        spacing = r"\\[Bb]igg?[lr]?(?![a-z])|\[\\big\]|\*|\\[,;!]|\\q?quad(?![a-z])"
        self.text, self.at, self.values = re.sub(spacing, " ", formula), 0, values

    def take(self, pattern):
        """Return the match of `pattern` here and go past it, or return None."""
        match = re.compile(rf"\s*(?:{pattern})").match(self.text, self.at)
        self.at = match.end() if match else self.at
        return match

    def expect(self, pattern):
        match = self.take(pattern)
        if not match:
            raise ValueError(f"{pattern} expected at {self.text[self.at :]!r} in {self.text!r}")
        return match

    def chain(self):
        sides, signs = [self.sum()], []
        while match := self.take(RELATION):
            sign = match[0].strip().removeprefix("\\")
            signs.append({"le": "<=", "ge": ">="}.get(sign, sign))
            sides.append(self.set() if sign == "in" else self.sum())
        return sides, signs

    def set(self):
        r"""Return the shape of \R^{m\times n}, or the ends and the length of [a,b]^n."""
        if self.take(r"\\R\^\{"):
            rows, _, columns = self.sum(), self.expect(r"\\times"), self.sum()
            self.expect(r"\}")
            return rows, columns
        if self.take(r"\\R\^"):
            return self.argument(), 1
        self.expect(r"\[")
        low, _, high = self.sum(), self.expect(","), self.sum()
        self.expect(r"\]\^")
        return low, high, self.argument()

    def sum(self):
        result = -self.product() if self.take("-") else self.product()
        while sign := self.take(r"[-+]"):
            term = self.product()
            result = result + term if sign[0].strip() == "+" else result - term
        return result

    def product(self):
        result = self.power()
        while True:
            if self.take("/"):
                result = result / self.power()
            elif self.take(r"\\cdots"):  # the factors that are not written
                continue
            elif self.take(r"\\cdot(?!s)") or self.next_is_factor():
                factor = self.power()
                matrices = np.ndim(result) == 2 and np.ndim(factor) == 2
                result = result @ factor if matrices else result * factor
            else:
                return result

    def next_is_factor(self):
        here = self.text[self.at :].lstrip()
        return re.match(r"[\\\w(@]", here) and not re.match(
            rf"{RELATION}|\\times|\\rceil", here
        )

    def power(self):
        result = self.atom()
        while True:
            if self.take(r"\\T(?![A-Za-z])"):
                result = np.transpose(result)
            elif self.take(r"\^"):
                result = result ** self.argument()
            else:
                return result

    def argument(self):
        """Return a group in braces, or the one symbol or digit that stands without."""
        if self.take(r"\{"):
            result = self.sum()
            self.expect(r"\}")
            return result
        digit = self.take(r"\d")
        return float(digit[0]) if digit else self.atom()

    def arguments(self):
        """Return what stands in round brackets, separated by commas."""
        self.expect(r"\(")
        result = [self.sum()]
        while self.take(","):
            result.append(self.sum())
        self.expect(r"\)")
        return result

    def atom(self):
        if number := self.take(r"\d+(?:\.\d+)?"):
            return float(number[0])
        if re.match(r"\s*\(", self.text[self.at :]):
            result = self.arguments()
            return result[0] if len(result) == 1 else np.array(result)
        if big := self.take(r"\\(sum|prod)_\{(\w)="):
            return self.repeated(big[1], big[2])
        if self.take(r"\\frac"):
            return self.argument() / self.argument()
        if self.take(r"\\lceil"):
            result = math.ceil(self.sum())
            self.expect(r"\\rceil")
            return result
        functions = {"abs": np.abs, "norm": np.linalg.norm, "sqrt": np.sqrt}
        if name := self.take(r"\\(abs|norm|sqrt)(?![a-z])"):
            return functions[name[1]](self.argument())
        if self.take(r"\\ln"):
            return np.log(self.power())
        if name := self.take(r"\\(max|min)"):
            return {"max": max, "min": min}[name[1]](self.arguments())
        if self.take(r"\\e(?![a-z])"):
            return math.e
        return self.symbol()

    def repeated(self, kind, index):
        r"""Return a sum or a product; the reader stands after ``\sum_{j=``."""
        first, _ = self.sum(), self.expect(r"\}\^")
        last, start, outside = self.argument(), self.at, self.values
        terms = []
        for step in range(int(first), int(last) + 1):
            self.at, self.values = start, outside | {index: step}
            terms.append(self.product())
        self.values = outside
        return math.prod(terms) if kind == "prod" else sum(terms)

    def symbol(self):
        match = self.expect(r"@(\w+)|\\([A-Za-z]+)|([A-Za-z]'?)")
        name = match[1] or match[2] or match[3]
        if self.take("_"):
            match = self.expect(r"\{((?:[^{}]|\{[^}]*\})*)\}|(\w)")
            value = self.with_index(name, match[1] or match[2])
        else:
            value = self.values[name]
        return value(*self.arguments()) if callable(value) else value

    def with_index(self, name, index):
        """Return the value of x_max under that name, or of x_{i+1} from the function x."""
        full = f"{name}_" + re.sub(r"\\mathrm|[\\{}\s]", "", index)
        if full in self.values:
            return self.values[full]
        indices = index if re.fullmatch("[a-z]{2}", index) else [index]  # i and j in \pi_{ij}
        return self.values[name](*(int(Reader(i, self.values).sum()) for i in indices))


def is_true(sides, signs):
    """Return whether every relation of a chain is true, up to rounding."""
    return all(map(holds, sides, signs, sides[1:]))


def holds(left, sign, right):
    if sign == "in" and len(right) == 2:
        return np.shape(left) == right
    if sign == "in":
        low, high, n = right
        return len(left) == n and bool(np.all((low <= left) & (left <= high)))
    equal = np.allclose(left, right, rtol=1e-9, atol=1e-12)
    if sign in ("<=", ">=", "="):
        compare = {"<=": np.less_equal, ">=": np.greater_equal, "=": np.equal}[sign]
        return equal or bool(np.all(compare(left, right)))
    compare = {"<": np.less, ">": np.greater, "ne": np.not_equal}[sign]
    return not equal and bool(np.all(compare(left, right)))
