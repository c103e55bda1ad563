"""The website: complete, self-contained, usable without a mouse; in a real browser it sorts, filters and compares."""

import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import counterbench
from counterbench import datasets
from counterbench.leaderboard import board, website
from counterbench.leaderboard.album import OPAQUE
from counterbench.pictures.albums import draw_all
from counterbench.pictures.outlines import contours_svg, edges_of
from counterbench.pictures.sheet import tiled
from counterbench.records.record import write_record
from counterbench.storage.files import write_text

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def built(toy, tmp_path_factory):
    """A board with two models whose names need care, built with pictures as far as they can be had."""
    folder = tmp_path_factory.mktemp("site")
    dataset = toy.Toy()
    models = {"exact": toy.ExactModel(), "blurred": Blurred(dataset), "<b>&co": Blurred(dataset, 0.5)}
    for name, model in models.items():
        result = counterbench.evaluate(model, dataset, suite="quick", limit=40, name=name, device="cpu")
        home = folder / "records" / name.strip("<>").replace(">", "")
        result.save(home)
    boards = board.build(board.find(folder / "records"))
    albums = draw_all(boards, folder / "site", device="cpu")
    website.build(boards, folder / "site", albums=albums)
    return folder / "site"


class Blurred:
    """Half of the truth's effect."""

    def __init__(self, dataset, share=0.8):
        self.dataset, self.share, self.fingerprint = dataset, share, str(share)

    def counterfactual(self, factual, interventions, generator=None):
        shift = 2 * torch.sin(factual["image"])
        return {**factual, **interventions, "image": (factual["image"] + self.share * shift).clamp(0, 255)}


class Page(html.parser.HTMLParser):
    """What a page refers to, and whether it is well formed."""

    VOID = frozenset(("meta", "link", "img", "input", "br"))

    def __init__(self, path):
        super().__init__()
        self.links, self.images, self.ids, self.open, self.inputs = [], [], [], [], []
        self.headings = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == [], path

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.links += [given[name] for name in ("href", "src") if given.get(name)]
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "img":
            self.images.append(given)
        if tag in ("input", "select"):
            self.inputs.append("label" in self.open)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.VOID:
            return
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def pages(folder):
    return sorted(folder.rglob("*.html"))


def test_every_page_is_there(built):
    names = [path.name for path in pages(built)]
    assert names.count("compare.html") == names.count("viewer.html") == 1
    assert len([name for name in names if name.startswith("model-")]) == 3


def test_every_link_leads_to_a_file_and_none_outside(built):
    for path in pages(built):
        for link in Page(path).links:
            if link.startswith(("#", "data:,")):
                continue
            assert "//" not in link, (path, link)
            target = (path.parent / link.split("#")[0]).resolve()
            assert target.is_file(), (path, link)
    for path in (built / "static").iterdir():
        if path.suffix in (".css", ".js"):
            assert not re.search(r"@import|url\(['\"]?https?:|fetch\(|XMLHttpRequest", path.read_text()), path


def test_pages_can_be_used_without_eyes_or_a_mouse(built):
    for path in pages(built):
        page = Page(path)
        assert all(image.get("alt") for image in page.images), path
        assert all(page.inputs), "every field has a label"
        assert len(page.ids) == len(set(page.ids)), path
        assert page.headings[0] == 1
        assert page.headings.count(1) == 1
        assert all(after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False)), path
        text = path.read_text()
        assert '<html lang="en">' in text
        assert 'href="#content"' in text


def test_names_are_text_and_no_markup(built):
    for path in pages(built):
        assert "<b>&co" not in path.read_text(), path


def test_a_board_says_what_the_records_say(built):
    (board,) = [path for path in pages(built) if path.name == "index.html" and path.parent != built]
    text = board.read_text()
    rows = re.findall(r'<tr class="end (\w+)">\s*<th scope="row" title="[^"]+">(\w+)', text)
    assert {("floor", "identity"), ("floor", "noise"), ("ceiling", "truth")} <= set(rows)
    (record,) = [path for path in built.parent.rglob("record.json") if '"model": "exact"' in path.read_text()]
    (number,) = [
        number
        for number in json.loads(record.read_text())["numbers"]
        if (number["metric"], number["quantity"], number["intervened"]) == ("truth", "l1", "a")
    ]
    from counterbench.records.table import show

    section = text[text.index('data-metric="truth"') :]
    row = section[section.index('data-model="exact"') :]
    assert f'<span class="value">{show(number["value"])}</span>' in row[: row.index("</tr>")]
    assert "partial: 40 of 120 images" in text


def test_building_again_gives_the_same_pages(built, tmp_path):
    boards = board.build(board.find(built.parent / "records"))
    website.build(boards, tmp_path / "one")
    website.build(boards, tmp_path / "two")
    for path in pages(tmp_path / "one"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_models_that_are_not_here_are_said_to_be_missing(built):
    (viewer,) = built.rglob("viewer.html")
    text = html.unescape(viewer.read_text())
    for name in ("exact", "blurred", "<b>&co"):
        assert re.search(rf"{re.escape(name)}[^.]*is not shown", text), name
    assert "No pictures were made" not in text


def test_pictures_show_the_models_answers(toy, tmp_path, monkeypatch):
    from PIL import Image

    from counterbench import models
    from counterbench.models.model import Contestant

    dataset = toy.Toy()
    result = counterbench.evaluate(toy.ExactModel(), dataset, suite="quick", limit=40, name="exact", device="cpu")
    result.save(tmp_path / "records")
    boards = board.build(board.find(tmp_path / "records"))
    asked = Contestant("exact", toy.ExactModel(), weights_sha256=result.record.inputs.weights_sha256)
    monkeypatch.setattr(models, "load", lambda *given, **named: asked)
    monkeypatch.setattr(models, "names", lambda dataset: ["exact"])
    album = draw_all(boards, tmp_path / "site", device="cpu")[boards[0].name]
    pictured = album.models["exact"]
    home = tmp_path / "site" / boards[0].name
    assert list(pictured.answers) == ["a", "b", "c"]
    for name, file in pictured.answers.items():  # an exact model's answers are the truth, up to rounding to grey levels
        answered, truth = (
            torch.tensor(np.asarray(Image.open(home / path)).astype(int)).flatten()
            for path in (file, album.truth[name])
        )
        assert (answered - truth).abs().max() <= 1
        assert Image.open(home / file).size[0] >= 8 * toy.SIDE
        given, after, over = (
            torch.tensor(np.asarray(Image.open(home / path)).astype(int))
            for path in (album.factual, file, album.layers[file]["change"])
        )
        changed = (after - given).abs().clamp(max=OPAQUE) / OPAQUE
        assert (over[..., 3] / 255 - 0.85 * changed).abs().max() < 0.03  # rounded to grey levels twice
    assert list(album.switches) == ["change"]
    assert not album.layers[album.factual]
    assert [case[0] for case in pictured.extremes[0].cases] == ["best", "median", "worst"]
    other = Contestant("exact", toy.ExactModel(), weights_sha256="other")
    monkeypatch.setattr(models, "load", lambda *given, **named: other)
    assert (
        "not those of the record" in draw_all(boards, tmp_path / "again", device="cpu")[boards[0].name].missing["exact"]
    )


class Dim:
    """The truth, and everything 30 grey levels darker."""

    fingerprint = "dim"

    def __init__(self, toy):
        self.exact = toy.ExactModel()

    def counterfactual(self, factual, interventions, generator=None):
        answer = self.exact.counterfactual(factual, interventions, generator)
        return {**answer, "image": (answer["image"] - 30).clamp(0, 255)}


def test_a_layer_shows_what_an_intervention_does_beside_what_the_model_does_anyway(toy, tmp_path, monkeypatch):
    from PIL import Image

    from counterbench import models
    from counterbench.models.model import Contestant

    result = counterbench.evaluate(Dim(toy), toy.Toy(), suite="quick", limit=40, name="dim", device="cpu")
    result.save(tmp_path / "records")
    boards = board.build(board.find(tmp_path / "records"))
    asked = Contestant("dim", Dim(toy), weights_sha256=result.record.inputs.weights_sha256)
    monkeypatch.setattr(models, "load", lambda *given, **named: asked)
    monkeypatch.setattr(models, "names", lambda dataset: ["dim"])
    album = draw_all(boards, tmp_path / "site", device="cpu")[boards[0].name]
    assert list(album.switches) == ["change", "own"]
    layers = album.layers[album.models["dim"].answers["a"]]
    seen = {name: np.asarray(Image.open(tmp_path / "site" / boards[0].name / file)) for name, file in layers.items()}
    # The variable a moves few pixels: what is dim everywhere covers the other layer.
    assert np.median(seen["own"][..., 3]) < np.median(seen["change"][..., 3])


def test_who_cannot_be_asked_is_shown_as_its_evaluation_drew_it(built):
    (page,) = built.rglob("model-exact.html")
    text = page.read_text()
    (file,) = re.findall(r'src="(pictures/[^"]+-drawn.png)"', text)
    assert "As its evaluation drew them (it is no model of the catalogue" in text
    assert (page.parent / file).read_bytes()[:4] == b"\x89PNG"


def test_what_lies_where_an_evaluations_picture_should_is_not_copied(toy, tmp_path):
    result = counterbench.evaluate(toy.ExactModel(), toy.Toy(), suite="quick", limit=20, name="exact", device="cpu")
    result.save(tmp_path / "records")
    (grid,) = (tmp_path / "records").rglob("grid.png")
    grid.write_text("<script>")
    boards = board.build(board.find(tmp_path / "records"))
    (album,) = draw_all(boards, tmp_path / "site", device="cpu").values()
    assert album.drawn == {}


def test_remarks_are_short_in_the_table_and_whole_below(built):
    (page,) = [path for path in pages(built) if path.name == "index.html" and path.parent != built]
    text = page.read_text()
    assert re.search(r'<mark class="tag" title="partial: 40 of [\d,]+ images">40 of [\d,]+ images</mark>', text)
    assert "<p>partial: 40 of" in text


SECRET = "swordfish"


@pytest.fixture
def stranger(toy, tmp_path):
    """The folder of somebody's record, and files of ours that it has no business with."""
    result = counterbench.evaluate(toy.ExactModel(), toy.Toy(), suite="quick", limit=20, name="exact", device="cpu")
    result.save(tmp_path / "records")
    for name in ("credentials.yaml", "credentials.yml", "manifest.json"):
        (tmp_path / name).write_text(f"name: {{token: {SECRET}}}\npassword: {SECRET}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "{home}/credentials.yaml"),
        ("model", "{home}/credentials.yml"),
        ("model", "{home}/nowhere.yaml"),
        ("model", "{home}"),
        ("model", "{home}/plugin.py"),
        ("dataset", "{home}/credentials.yaml"),
        ("suite", "{home}/credentials.yaml"),
        ("source", "../../{home}"),
    ],
)
def test_paths_in_a_record_are_not_followed(stranger, field, value):
    """Pages say nothing of what lies on this machine, not even whether it is there."""
    (path,) = stranger.rglob("record.json")
    plain = json.loads(path.read_text())
    plain["inputs"][field] = value.format(home=stranger)
    path.write_text(json.dumps(plain))
    opened = []
    boards = board.build(board.find(stranger / "records"))
    website.build(
        boards, stranger / "site", albums=draw_all(boards, stranger / "site", device="cpu", tell=opened.append)
    )
    text = "".join(page.read_text() for page in (stranger / "site").rglob("*.html"))
    assert SECRET not in text
    assert "password" not in text
    assert "token" not in text
    assert "it is no model of the catalogue" in text or "are not where this page was made" in text
    assert not any(SECRET in line or "token" in line for line in opened)


def test_models_that_the_user_names_are_asked(toy, tmp_path, monkeypatch):
    """A folder made by training serves the record of its weights, whatever that is called."""
    from counterbench import models
    from counterbench.errors import CheckpointError
    from counterbench.models.model import Contestant

    result = counterbench.evaluate(toy.ExactModel(), toy.Toy(), suite="quick", limit=20, name="exact", device="cpu")
    (home := tmp_path / "trained").mkdir()
    record = result.record.model_copy(
        update={"inputs": result.record.inputs.model_copy(update={"weights_sha256": "a" * 64})}
    )
    write_record(record, tmp_path / "records" / "record.json")
    (home / "manifest.json").write_text(json.dumps({"weights_sha256": "a" * 64, "curves": {}}))
    asked = []
    answers = Contestant("exact", toy.ExactModel(), weights_sha256="a" * 64)
    monkeypatch.setattr(models, "load", lambda name, *more, **options: asked.append(name) or answers)
    boards = board.build(board.find(tmp_path / "records"))
    album = draw_all(boards, tmp_path / "site", device="cpu", trained=[home])[boards[0].name]
    assert list(album.models) == ["exact"]
    assert asked == [str(home)]
    with pytest.raises(CheckpointError, match="holds no trained model"):
        draw_all(boards, tmp_path / "site", device="cpu", trained=[tmp_path / "records"])


# --- in a browser -----------------------------------------------------------------------------------------------------

WATCH = """<script>
window.seen = [];
addEventListener("error", (event) => seen.push(String(event.message || event.target.src || event.target.href)), true);
console.error = (...words) => seen.push(words.join(" "));
</script>"""
REPORT = """<script>
addEventListener("load", async () => {
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const type = (id, value) => { const input = document.getElementById(id); input.value = value; input.dispatchEvent(new Event("input")); };
  const column = (table, k) => [...table.tBodies[0].rows].map((row) => row.cells[k].textContent.trim().split(/\\s+/)[0]);
  let told = {};
  try { told = await (async () => { %s })(); } catch (error) { seen.push(String(error)); }
  told.errors = seen;
  told.outside = performance.getEntriesByType("resource").map((one) => one.name).filter((name) => !name.startsWith("file:") && !name.startsWith("data:"));
  document.body.replaceChildren(Object.assign(document.createElement("pre"), { id: "told", textContent: JSON.stringify(told) }));
});
</script>"""


def browse(path: Path, script: str, *options: str, fragment: str = "") -> dict:
    """Open a copy of a page, do something there, and return what the page said."""
    text = (
        path.read_text(encoding="utf-8")
        .replace("<head>", "<head>" + WATCH)
        .replace("</body>", REPORT % script + "</body>")
    )
    copy = path.with_name("copy-" + path.name)
    write_text(copy, text)
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", *options]
    command += ["--virtual-time-budget=4000", "--dump-dom", copy.as_uri() + fragment]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    copy.unlink()
    (found,) = re.findall(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)
    told = json.loads(html.unescape(found))
    assert told.pop("errors") == []
    assert told.pop("outside") == []
    return told


needs_browser = pytest.mark.skipif(BROWSER is None, reason="needs Chromium")


@needs_browser
def test_a_click_on_a_heading_sorts_best_first(built):
    (board,) = [path for path in pages(built) if path.name == "index.html" and path.parent != built]
    told = browse(
        board,
        """
        const table = document.querySelector('[data-metric="truth"] table'), headings = [...table.tHead.rows[0].cells];
        const at = headings.findIndex((cell) => cell.textContent.includes("l1")), heading = headings[at];
        const before = column(table, at); heading.click(); await wait(50);
        const up = column(table, at), said = heading.getAttribute("aria-sort"); heading.click(); await wait(50);
        const down = column(table, at), ends = column({ tBodies: [table.tFoot] }, 0);
        const sorter = heading.querySelector("button");
        sorter.focus();
        const reachable = document.activeElement === sorter, called = sorter.textContent.trim();
        const missing = table.tBodies[0].rows[0], name = missing.cells[0].textContent;
        missing.cells[at].dataset.sort = "";
        const last = [];
        for (const _ of [1, 2]) { sorter.click(); await wait(50); last.push(table.tBodies[0].rows[2].cells[0].textContent === name); }
        return { before, up, down, said, ends, reachable, called, last };
        """,
    )
    values = [float(value.rstrip("*")) for value in told["up"]]
    assert values == sorted(values)
    assert told["down"] == told["up"][::-1]
    assert told["said"] == "ascending"
    assert told["ends"][0] == "identity"
    assert told["reachable"]
    assert "l1" in told["called"]
    assert told["last"] == [True, True]  # what is missing is never first


@needs_browser
@pytest.mark.parametrize("width", [1280, 420])
def test_remarks_are_seen_whole_in_any_window(built, width):
    (board,) = [path for path in pages(built) if path.name == "index.html" and path.parent != built]
    told = browse(
        board,
        """
        const inside = (box) => box.width > 0 && box.left >= 0 && box.right <= innerWidth;
        const marks = [...document.querySelectorAll(".remarks mark")];
        const seen = marks.every((mark) => [...mark.getClientRects()].every(inside));
        type("filter-model", "EXA");
        const left = [...document.querySelectorAll(".remarks li")].filter((line) => line.offsetParent).map((line) => line.dataset.model);
        return { count: marks.length, seen, left };
        """,
        f"--window-size={width},900",
    )
    assert told["count"] >= 3
    assert told["seen"]
    assert told["left"] == ["exact"]


@needs_browser
def test_filters(built):
    (board,) = [path for path in pages(built) if path.name == "index.html" and path.parent != built]
    told = browse(
        board,
        """
        const rows = () => [...document.querySelectorAll("tr[data-model]")].filter((row) => row.offsetParent).map((row) => row.dataset.model);
        const parts = () => [...document.querySelectorAll(".metric")].filter((part) => part.offsetParent).map((part) => part.dataset.metric);
        type("filter-model", "EXA"); const one = [...new Set(rows())];
        type("filter-model", ""); type("filter-metric", "truth"); const metric = parts();
        const said = document.getElementById("filtered").textContent;
        const ends = document.getElementById("filter-ends"); ends.checked = false; ends.dispatchEvent(new Event("input"));
        const left = [...document.querySelectorAll("tfoot .end")].filter((row) => row.offsetParent).length;
        return { one, metric, said, left };
        """,
    )
    assert told == {"one": ["exact"], "metric": ["truth"], "said": "3 models, 1 metrics", "left": 0}


@needs_browser
def test_two_models_are_compared(built):
    (compare,) = built.rglob("compare.html")
    told = browse(
        compare,
        """
        const table = document.getElementById("differences");
        const first = document.getElementById("first").value, all = table.tBodies[0].rows.length;
        const line = () => { const row = [...table.tBodies[0].rows].find((row) => row.textContent.startsWith("truthdo(a)l1")); return [...row.cells].map((cell) => cell.textContent); };
        type("second", "exact"); type("first", "blurred"); const there = line();
        type("first", "exact"); type("second", "blurred"); const back = line();
        type("second", "exact");
        return { first, all, there, back, same: document.getElementById("verdict").textContent };
        """,
        fragment="#first=blurred",
    )
    assert told["first"] == "blurred"
    assert told["all"] > 10
    (there, back) = told["there"], told["back"]
    assert there[3] == back[4]
    assert there[7] == back[7] == "exact"
    assert back[5].split()[0] == "-" + there[5].split()[0]
    assert told["same"] == "Choose two different models."


@needs_browser
def test_every_page_opens_without_an_error_in_light_dark_and_small(built):
    for path in pages(built):
        told = browse(
            path,
            """
            const ink = () => getComputedStyle(document.body).color; const day = ink();
            document.getElementById("theme").click(); const night = ink();
            return { day, night, wide: document.documentElement.scrollWidth <= innerWidth + 1 };
            """,
            "--window-size=420,800",
        )
        assert told["day"] != told["night"]
        assert told["wide"], f"{path} is wider than a telephone"


def test_outlines_of_parts_can_be_laid_over_pictures(tmp_path, monkeypatch):
    from counterbench import models
    from counterbench.models.baselines import TrueCounterfactual
    from counterbench.models.model import Contestant

    data = datasets.load("morphomnist-lesions")
    truth = TrueCounterfactual(data)
    metrics = ["composition"]
    result = counterbench.evaluate(truth, data, suite="quick", limit=12, metrics=metrics, name="exact", device="cpu")
    result.save(tmp_path / "records")
    boards = board.build(board.find(tmp_path / "records"))
    asked = Contestant("exact", truth, weights_sha256=result.record.inputs.weights_sha256)
    monkeypatch.setattr(models, "load", lambda *given, **named: asked)
    monkeypatch.setattr(models, "names", lambda dataset: ["exact"])
    albums = draw_all(boards, tmp_path / "site", device="cpu")
    album, home = albums[boards[0].name], tmp_path / "site" / boards[0].name
    assert list(album.switches) == ["change", "parts"]
    assert list(album.parts) == list(data.card.parts[1:])
    drawn = (home / album.layers[album.factual]["parts"]).read_text()
    mask = data.role("mask", "test", torch.arange(8))
    sheet = tiled(mask[:, None].float(), 8, ground=0)[0].long()
    assert drawn == contours_svg(sheet)
    changed = (home / album.layers[album.truth["lesion"]]["parts"]).read_text()
    assert changed != drawn
    assert changed.count("<path") >= 2
    website.build(boards, tmp_path / "site", albums=albums)
    if BROWSER is None:
        pytest.skip("the rest needs Chromium")
    told = browse(
        home / "viewer.html",
        """
        const hidden = (name) => [...document.querySelectorAll(`[data-layer="${name}"]`)].map((one) => one.hidden);
        const before = hidden("parts");
        const tick = document.querySelector('[data-switch="parts"]');
        tick.click();
        return { before, after: hidden("parts"), change: hidden("change"), legend: document.querySelector(".parts").hidden };
        """,
    )
    assert all(told["before"])
    assert not any(told["after"])
    assert all(told["change"])
    assert not told["legend"]


def test_outlines_run_along_the_edges_of_pixels():
    mask = torch.zeros(4, 5, dtype=torch.uint8)
    mask[1:3, 2:4] = 3
    (part, lines), *others = edges_of(mask).items()
    assert part == 3
    assert not others
    assert len(lines) == 8
    corners = {corner for line in lines for corner in line}
    assert corners == {(2, 1), (3, 1), (4, 1), (2, 2), (4, 2), (2, 3), (3, 3), (4, 3)}
    assert contours_svg(mask).count("M") == 8


def test_the_viewer_of_volumes_has_a_slider_over_their_slices(toy, tmp_path, monkeypatch):
    from PIL import Image

    from counterbench import models
    from counterbench.models.baselines import TrueCounterfactual
    from counterbench.models.model import Contestant

    solid = toy.SolidToy()
    truth = Contestant("exact", TrueCounterfactual(solid))
    result = counterbench.evaluate(truth.model, solid, suite="quick", limit=20, name="exact", device="cpu")
    result.save(tmp_path / "records")
    boards = board.build(board.find(tmp_path / "records"))
    asked = Contestant("exact", truth.model, weights_sha256=result.record.inputs.weights_sha256)
    monkeypatch.setattr(models, "load", lambda *given, **named: asked)
    monkeypatch.setattr(models, "names", lambda dataset: ["exact"])
    albums = draw_all(boards, tmp_path / "site", device="cpu")
    album, home = albums[boards[0].name], tmp_path / "site" / boards[0].name
    assert album.slices == tuple(range(3, 14))
    for file in (album.factual, *album.truth.values(), *album.models["exact"].answers.values()):
        middle, slices = (
            (home / file).read_bytes(),
            [home / file.replace(".png", f"-slice-{at}.png") for at in album.slices],
        )
        assert slices[5].read_bytes() == middle
        assert len({path.read_bytes() for path in slices}) == 4  # each height of the toy is four slices
        assert Image.open(home / file).size[0] >= 8 * 16
    for file in album.models["exact"].answers.values():
        over = home / album.layers[file]["change"]
        assert over.is_file()
        assert all(over.with_name(over.name.replace(".png", f"-slice-{at}.png")).is_file() for at in album.slices)
    website.build(boards, tmp_path / "site", albums=albums)
    page = next(home.rglob("viewer.html")).read_text()
    assert '<input type="range" id="slice" min="0" max="10" value="5" data-slices="3 4 5 6 7 8 9 10 11 12 13">' in page
