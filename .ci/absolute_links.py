"""Makes the relative links of a Markdown file absolute: python absolute_links.py README.md https://host/owner/name v0.2.0"""

import re
import sys
from pathlib import Path


def absolute(text: str, repository: str, tag: str) -> str:
    """Links to files beside the text as links to the repository at a tag; pictures as their raw files."""

    def link(found: re.Match[str]) -> str:
        picture, words, target = found.groups()
        if re.match(r"[a-z]+:|#", target):
            return found[0]
        kind = "raw" if picture else "blob"
        return f"{picture}[{words}]({repository.rstrip('/')}/{kind}/{tag}/{target})"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", link, text)


if __name__ == "__main__":
    file, repository, tag = sys.argv[1:]
    path = Path(file)
    path.write_text(absolute(path.read_text(encoding="utf-8"), repository, tag), encoding="utf-8")
