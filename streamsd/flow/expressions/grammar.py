"""The grammar of expressions, as it is published. Tests hold the parser to it, both ways.

`read` reads expressions with Python's own parser and refuses what this grammar does not have; it is written down for
those who write expressions, or programs that do.
"""

from __future__ import annotations

import keyword

RULES = """\
expression = either [ "if" either "else" expression ]
either     = both { "or" both }
both       = condition { "and" condition }
condition  = "not" condition | comparison
comparison = sum { compare sum | "is" [ "not" ] ( "None" | "null" ) }
compare    = "==" | "!=" | "<" | "<=" | ">" | ">=" | [ "not" ] "in"
sum        = product { ( "+" | "-" ) product }
product    = factor { ( "*" | "/" | "//" | "%" ) factor }
factor     = ( "-" | "+" ) factor | NUMBER | value
value      = atom { "." NAME | "[" expression "]" | "[" [ expression ] ":" [ expression ] "]" }
atom       = NAME [ "(" [ list ] ")" ] | "None" | "True" | "False" | text { text }
           | "[" [ list ] "]" | "{" [ pair { "," pair } [ "," ] ] "}" | "(" expression ")"
list       = expression { "," expression } [ "," ]
pair       = TEXT { TEXT } ":" expression
text       = TEXT | FTEXT
"""
"""`[ x ]`: x or nothing. `{ x }`: x any number of times, or nothing."""

_DIGITS = r"[0-9](?:_?[0-9])*"
_EXPONENT = rf"[eE][+-]?{_DIGITS}"
_ESCAPE = r"\\(?:[^xuUN]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4}|N\{[A-Z0-9 -]+\})"

_AS_IT_IS = r"\\[\s\S]"


def _quoted(escape: str) -> str:
    forms = [rf"{q * 3}(?:(?!{q * 3})[^\\]|{escape})*{q * 3}|{q}(?!{q}{q})(?:[^{q}\\\n]|{escape})*{q}" for q in "'\""]
    return f"(?:{'|'.join(forms)})"


TERMINALS = {
    "NAME": rf"(?!(?:{'|'.join(keyword.kwlist)})\b)[^\W\d]\w*",
    "NUMBER": rf"(?:(?:{_DIGITS})?\.{_DIGITS}(?:{_EXPONENT})?|{_DIGITS}\.(?:{_EXPONENT})?|{_DIGITS}{_EXPONENT}"
    r"|0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+|0(?:_?0)*|[1-9](?:_?[0-9])*)(?!\w)",
    "TEXT": f"(?:[uU]?{_quoted(_ESCAPE)}|[rR]{_quoted(_AS_IT_IS)})",
    "FTEXT": f"(?:[fF]{_quoted(_ESCAPE)}|(?:[rR][fF]|[fF][rR]){_quoted(_AS_IT_IS)})",
}
"""Regular expressions (Python's) of what is one piece."""
IGNORED = r"[ \t\f\r\n]+|\#[^\n]*"
"""What may stand between two pieces."""

WORDS = (
    (
        "NAME",
        "letters, digits and `_`, no digit first: a field, a function; `true`, `false` and `null` are values where "
        "no field is called so. Not the words of Python (`class`, `from`, `in` …): write `field('class')`",
    ),
    ("NUMBER", "`7`, `1_000`, `2.5`, `1e-3`, `0xff`"),
    ("TEXT", "`'…'` or `\"…\"` with Python's escapes (`\\n`, `\\u00e9`); `r'…'` without; three quotes go over lines"),
    (
        "FTEXT",
        "`f'…'`: a text with expressions in braces; `{{` and `}}` are braces. The quotes around it do not stand in "
        "them, nor does a `\\`",
    ),
)
