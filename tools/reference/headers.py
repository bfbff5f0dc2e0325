# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Finds what a header of resect declares at namespace scope, and which comment speaks of it."""
import re
from dataclasses import dataclass


@dataclass
class Declaration:
    kind: str       # class, enum, concept, alias, function, variable
    name: str
    namespace: str  # resect::metrics
    first: int      # index of its first line
    last: int       # and of its last one
    comment: int    # index of the first line of the comment directly above it; == first where there is none
    trailing: bool  # a comment stands at the end of its last line
    throws: bool    # exists only with exceptions: the throwing form of a try_ function, or what belongs to it
    follows: "Declaration | None"  # the one on the line above, where nothing stands between


def without_comments(text):
    """The text with comments, strings and preprocessor lines as blanks; lines and columns stay where they are."""
    blank = lambda m: re.sub(r"[^\n]", " ", m[0])
    literal = lambda m: m[0][0] + " " * (len(m[0]) - 2) + m[0][-1]
    pattern = r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|(?<![0-9a-zA-Z])\'(?:\\.|[^\'\\\n])+\''
    text = re.sub(pattern, lambda m: blank(m) if m[0][0] == "/" else literal(m), text, flags=re.S)
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank, text, flags=re.M)


def closing(code, at):
    """Where the brace that opens at `at` closes."""
    depth = 0
    for i in range(at, len(code)):
        depth += (code[i] == "{") - (code[i] == "}")
        if depth == 0:
            return i
    raise ValueError(f"a brace at byte {at} that does not close")


def without_templates(text):
    """The text without template<…>, whatever its defaults hold."""
    out, i = [], 0
    while i < len(text):
        if not (head := re.match(r"\btemplate\s*<", text[i:])):
            out.append(text[i])
            i += 1
            continue
        i += head.end()
        angles, rounds = 1, 0
        while i < len(text) and angles:
            rounds += (text[i] == "(") - (text[i] == ")")
            if rounds == 0 and text[i - 1:i + 1] != "->":
                angles += (text[i] == "<") - (text[i] == ">")
            i += 1
    return "".join(out)


def without_groups(text):
    """The text without template<…> and without what stands in round brackets."""
    out, depth = [], 0
    for c in without_templates(text):
        depth += c == "("
        if depth == 0:
            out.append(c)
        depth -= c == ")"
    return "".join(out)


def kind_and_name(text):
    """Of a declaration, or None where there is nothing to document."""
    if "concept" not in text:
        text = re.sub(r"\brequires\s*(?:\((?:[^()]|\([^()]*\))*\))?\s*\{(?:[^{}]|\{[^{}]*\})*\}", " ", text)
    plain = re.sub(r"\[\[[^\]]*\]\]", " ", without_groups(text))
    plain = re.sub(r"\brequires\s+requires\b\s*", " ", plain).strip()
    if m := re.search(r"\bconcept\s+(\w+)", plain):
        return "concept", m[1]
    if m := re.match(r"using\s+(\w+)\s*=", plain):
        return "alias", m[1]
    if re.match(r"(using|static_assert|friend|extern template|template\s+(class|struct))\b", plain):
        return None
    if m := re.match(r"enum(?:\s+(?:class|struct))?\s+(\w+)", plain):
        return ("enum", m[1]) if "{" in plain else None
    if m := re.search(r"(?:^|\s)(?:class|struct|union)\s+(\w+)(\s*<)?[^;(]*\{", plain):
        return None if m[2] else ("class", m[1])  # a specialization belongs to what it specializes
    if re.match(r"(class|struct|union)\s+\w+\s*;", plain):
        return None
    if "operator" in text.split("{")[0] or re.search(r"=\s*delete\s*;$", plain):
        return None
    # a function: the first name in front of round brackets, clauses aside
    head = re.sub(r"\b(requires|noexcept|decltype|alignas)\s*(\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))", " ",
                  without_templates(text))
    head = re.split(r"[={]", head)[0]
    if names := re.findall(r"([A-Za-z_]\w*)\s*\(", head):
        return "function", names[0]
    names = re.findall(r"([A-Za-z_]\w*)\s*(?:\[[^\]]*\]\s*)?$", re.split(r"[={;]", plain)[0])
    return ("variable", names[0]) if names else None


def declarations(source):
    """Every Declaration outside `detail`, in their order."""
    code = without_comments(source)
    lines = source.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    line_of = lambda at: next(i for i in range(len(lines)) if starts[i + 1] > at)
    throwing, inside = set(), 0
    for i, line in enumerate(lines):
        if re.match(r"\s*#\s*if", line):
            inside = inside + 1 if inside or "RESECT_EXCEPTIONS" in line else 0
        elif re.match(r"\s*#\s*endif", line) and inside:
            inside -= 1
        elif inside:
            throwing.add(i)

    out, scopes, begin, i, previous = [], [], None, 0, None
    while i < len(code):
        c = code[i]
        if begin is None and not c.isspace():
            begin = i
        if begin is None:
            i += 1
            continue
        text = code[begin:i]
        end = None
        if c == "}" and begin == i:
            scopes.pop()
            begin = None
        elif c == "{" and (m := re.match(r"(?:inline\s+)?namespace\b(.*)", text, re.S)):
            scopes.append(re.sub(r"\bRESECT_NAMESPACE\b", "resect", re.sub(r"\s", "", m[1])))
            begin = None
        elif c == "{":
            opened, close = i, closing(code, i)
            clause = r"\brequires\s*(\((?:[^()]|\([^()]*\))*\))?\s*$"
            is_expression = text.count("(") > text.count(")") or re.search(clause, text)
            plain = without_groups(re.sub(r"operator\s*[=<>!]+|[<>!=]=", " ", text))
            i = close
            tail = code[close + 1:].lstrip()
            is_type = re.search(r"(?:^|\s)(class|struct|union|enum)\s", plain) and "(" not in text.split("requires")[-1]
            if not (is_expression or "=" in plain or is_type or tail.startswith(";") or tail[:1] in ",{"):
                end = close
        elif c == ";":
            end = opened = i
        if end is not None:
            found = kind_and_name(code[begin:opened + 1] if end != opened else code[begin:end + 1])
            namespace = "::".join(s for s in scopes if s)
            if found and "detail" not in namespace.split("::") and namespace:
                first, last = line_of(begin), line_of(end)
                comment = first
                while comment > 0 and re.match(r"\s*//", lines[comment - 1]):
                    comment -= 1
                trailing = "//" in lines[last][end - starts[last]:]
                adjacent = previous if previous and previous.last + 1 == first else None
                previous = Declaration(*found, namespace, first, last, comment, trailing, first in throwing, adjacent)
                out.append(previous)
            begin = None
        i += 1
    return out


def is_documented(d, all_of_file):
    """By a comment above or behind it; by that of the line above, where it is an overload or both are one line; or by
    that of the form that it throws for."""
    if d.comment < d.first or d.trailing:
        return True
    one_line = d.first == d.last
    if d.follows and is_documented(d.follows, all_of_file):
        if d.follows.name == d.name or (one_line and d.follows.first == d.follows.last):
            return True
    twins = [x for x in all_of_file if x.name == "try_" + d.name]
    return d.throws and any(is_documented(x, all_of_file) for x in twins)
