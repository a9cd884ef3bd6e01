"""The nodes in other languages: everything an artist reads on them, as ComfyUI wants it."""

import importlib.util
import json
import re

import pytest
from support.pack import ROOT, load_pack

PACK = load_pack()
NODES, TITLES = PACK.NODE_CLASS_MAPPINGS, PACK.NODE_DISPLAY_NAME_MAPPINGS
RUN = "run: python docs/make_locales.py"
NUMBER = r"\d+(?:\.\d+|e-\d+)?"
FILE = r"models/\w+|lavie-tiny"
VERBATIM = r"\[[^]]+\]|\(word:[^)]+\)|(?<!\w)'[^']+'(?!\w)"
KEPT = [re.compile(pattern, re.ASCII) for pattern in (NUMBER, FILE, VERBATIM)]


def loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_locales = loaded(ROOT / "docs" / "make_locales.py")
LANGUAGES = make_locales.LANGUAGES


def shown(language):
    return json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))


def translations(language):
    """Of each text that the language's catalogue translates: the English and the translation."""
    catalogue = json.loads((ROOT / "docs" / "locales" / f"{language}.json").read_text(encoding="utf-8"))
    return [(english, text) for english, text in catalogue["texts"].items() if text]


def leaves(texts, *path):
    for key, value in texts.items():
        if isinstance(value, dict):
            yield from leaves(value, *path, key)
        else:
            yield (*path, key), value


def wanted(node):
    """The places of a node's texts in nodeDefs.json."""
    places = {("display_name",), ("description",)}
    for key, tooltip in make_locales.inputs_of(node):
        places |= {("inputs", key, part) for part in ("name", "tooltip") if part == "name" or tooltip}
    return places | {("outputs", str(n), part) for n in range(len(node.RETURN_TYPES)) for part in ("name", "tooltip")}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_name_and_tooltip_of_every_node_is_translated_and_nothing_else(language):
    there = {name: {path for path, _ in leaves(texts)} for name, texts in shown(language).items()}
    assert set(there) == set(NODES), RUN
    for name, node in NODES.items():
        assert not wanted(node) - there[name], f"not translated on {name}; {RUN}"
        assert not there[name] - wanted(node), f"no longer on {name}; {RUN}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_keeps_numbers_file_names_and_prompts(language):
    for english, text in translations(language):
        for pattern in KEPT:
            lost = set(pattern.findall(english)) - set(pattern.findall(text))
            assert not lost, text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_tooltip_names_the_choices_as_the_list_does(language):
    translated = dict(translations(language))
    for node in NODES.values():
        for group in node.INPUT_TYPES().values():
            for kind, options in group.values():
                text = translated.get(options["tooltip"])
                if isinstance(kind, list) and text:
                    explained = {value for value in kind if re.search(rf"(^|\. ){value}(:| )", options["tooltip"])}
                    assert {value for value in explained if value not in text} == set(), text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_names_nodes_by_their_translated_titles(language):
    titles = {TITLES[name]: texts["display_name"] for name, texts in shown(language).items()}
    for english, text in translations(language):
        named = {title for title in titles if title in english}
        assert {titles[title] for title in named if titles[title] not in text} == set(), text


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_the_page_shows_texts_as_they_are(language):
    """ComfyUI's page reads braces, @ and | in a translation as commands."""
    assert [text for _, text in leaves(shown(language)) if re.search(r"[{}@|]", text)] == []


def test_in_english_inputs_have_the_words_of_comfyui():
    words = make_locales.HOST_WORDS
    for name, node in NODES.items():
        inputs = shown("en").get(name, {}).get("inputs", {})
        renamed = {key: texts["name"] for key, texts in inputs.items() if "name" in texts}
        assert renamed == {key: words[key] for key, _ in make_locales.inputs_of(node) if key in words}, RUN
        assert len({renamed.get(key, key) for key, _ in make_locales.inputs_of(node)}) == len(
            dict(make_locales.inputs_of(node))
        ), f"two inputs of {name} with one name"


def test_a_changed_text_keeps_its_old_translation_until_it_is_translated_again(tmp_path, monkeypatch):
    monkeypatch.setattr(make_locales, "ROOT", tmp_path)
    node = NODES["LaVieExampleVideo"]
    for folder, texts in (("docs/locales/zh.json", {}), ("locales/zh/nodeDefs.json", shown("zh"))):
        make_locales._write(tmp_path / folder, texts)
    catalogue = make_locales.Catalogue("zh")
    definition = catalogue.definition("LaVieExampleVideo", "LaVie Example Video", node)
    assert definition == shown("zh")["LaVieExampleVideo"]
    assert f"LaVieExampleVideo: changed: {node.DESCRIPTION}" in catalogue.to_do
    assert catalogue.used["texts"][node.DESCRIPTION] == ""


def test_the_chinese_help_pages_call_inputs_and_outputs_as_the_nodes_do():
    pages = sorted((ROOT / "web" / "docs").glob("*/zh.md"))
    assert pages
    for file in pages:
        node = shown("zh")[file.parent.name]
        page = file.read_text(encoding="utf-8")
        assert page.startswith(f"# {node['display_name']}\n")
        names = {texts["name"] for group in ("inputs", "outputs") for texts in node[group].values()}
        items = re.findall(r"^- (\*\*.+?)：", page, re.M)
        assert items
        assert {name for item in items for name in re.findall(r"\*\*(.+?)\*\*", item)} <= names, file
        (image,) = re.findall(r"!\[.*?\]\((.+?)\)", page)  # ComfyUI looks beside the English page
        assert (ROOT / "web" / "docs" / image).is_file()
