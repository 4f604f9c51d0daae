"""Each published layout on a small folder that lies as its authors' does."""

from pathlib import Path
from zipfile import ZipFile

import pandas as pd
import pytest
from PIL import Image

from p2d_lib.prep import layouts
from p2d_lib.prep.metadata import UNUSED
from p2d_lib.prep.pixels import DataError
from p2d_lib.prep.raw import read

SHIPPED = ("fitzpatrick17k", "ham10000", "ham10000_test", "isic2019", "pad_ufes_20", "ph2")


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (190, 140, 120)).save(path)


def rows_of(raw, *columns) -> dict[str, tuple]:
    """What the metadata say of each image, unknown numbers as None."""
    table = raw.metadata.set_index("image_id")[list(columns)].astype(object)
    return {
        name: tuple(row) for name, row in zip(table.index, table.where(table.notna(), None).to_numpy(), strict=True)
    }


@pytest.fixture
def isic2019(tmp_path) -> Path:
    folder = tmp_path / "isic2019"
    rows = [  # image, age, site, lesion_id, sex, the column that is 1
        ("ISIC_0000000", "55", "anterior torso", "", "female", "NV"),
        ("ISIC_0000017_downsampled", "", "posterior torso", "", "", "MEL"),
        ("ISIC_0012653_downsampled", "50", "head/neck", "MSK4_0012653", "male", "BKL"),
        ("ISIC_0024306", "45", "", "HAM_0000550", "male", "NV"),
        ("ISIC_0024307", "45", "", "HAM_0000550", "male", "NV"),
        ("ISIC_0024329", "75", "lower extremity", "HAM_0002954", "female", "SCC"),
        ("ISIC_0053454", "0", "palms/soles", "BCN_0003884", "female", "AK"),
        ("ISIC_0053455", "30", "lateral torso", "BCN_0000019", "female", "BCC"),
        ("ISIC_0053456", "30", "oral/genital", "BCN_0000020", "female", "VASC"),
        ("ISIC_0053457", "85", "upper extremity", "BCN_0000021", "female", "DF"),
    ]
    columns = ["image", "age_approx", "anatom_site_general", "lesion_id", "sex"]
    classes = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]
    for name, *_ in rows:
        picture(folder / "ISIC_2019_Training_Input" / f"{name}.jpg")
    (folder / "ISIC_2019_Training_Input" / "ATTRIBUTION.txt").write_text("no picture")
    pd.DataFrame([row[:-1] for row in rows], columns=columns).to_csv(
        folder / "ISIC_2019_Training_Metadata.csv", index=False
    )
    truth = [(name, *(float(column == dx) for column in classes)) for name, *_, dx in rows]
    pd.DataFrame(truth[::-1], columns=["image", *classes]).to_csv(
        folder / "ISIC_2019_Training_GroundTruth.csv", index=False
    )
    return folder


def test_isic2019_joins_its_ground_truth_and_an_image_without_lesion_stands_alone(isic2019):
    raw = read(isic2019, "isic2019")
    assert rows_of(raw, "lesion_id", "dx", "age", "sex", "localization") == {
        "ISIC_0000000": ("ISIC_0000000", "nv", 55, "female", "trunk"),
        "ISIC_0000017_downsampled": ("ISIC_0000017_downsampled", "mel", None, "unknown", "back"),
        "ISIC_0012653_downsampled": ("MSK4_0012653", "bkl", 50, "male", "unknown"),
        "ISIC_0024306": ("HAM_0000550", "nv", 45, "male", "unknown"),
        "ISIC_0024307": ("HAM_0000550", "nv", 45, "male", "unknown"),
        "ISIC_0053454": ("BCN_0003884", "akiec", 0, "female", "acral"),
        "ISIC_0053455": ("BCN_0000019", "bcc", 30, "female", "trunk"),
        "ISIC_0053456": ("BCN_0000020", "vasc", 30, "female", "unknown"),
        "ISIC_0053457": ("BCN_0000021", "df", 85, "female", "upper extremity"),
    }
    assert set(raw.metadata["dataset"]) == {"isic2019"} and set(raw.metadata["dx_type"]) == {"unknown"}
    assert "fitzpatrick" not in raw.metadata and raw.masks == {}


def test_a_diagnosis_that_is_none_of_the_seven_is_listed_and_never_fails(isic2019):
    raw = read(isic2019, "isic2019", on_bad="fail")
    where = {"file": "ISIC_2019_Training_Metadata.csv", "row": 7, "stage": "metadata"}
    reason = "dx 'SCC' is none of the seven; not used"
    assert raw.bad.to_dict("records") == [{"image_id": "ISIC_0024329", **where, "reason": reason}]
    assert reason.endswith(UNUSED) and "ISIC_0024329" not in raw.images


def change(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


TRUTH = "ISIC_2019_Training_GroundTruth.csv"
NV, SECOND = "ISIC_0000000,0.0,1.0,", "ISIC_0000000,0.0,1.0,1.0,"


@pytest.mark.parametrize(
    ("old", "new", "sentence", "listed"),
    [
        (f"{NV}0.0,", SECOND, r"line 2 \(ISIC_0000000\): dx is 'NV\+BCC', expected one of MEL, NV, .*UNK", 2),
        (NV, "ISIC_0000000,0.0,0.0,", r"line 2 \(ISIC_0000000\): dx is '', expected one of MEL", 2),
    ],
)
def test_a_ground_truth_that_names_none_or_two_is_wrong(isic2019, old, new, sentence, listed):
    change(isic2019 / TRUTH, old, new)
    with pytest.raises(DataError, match=sentence) as error:
        read(isic2019, "isic2019")
    raw = read(isic2019, "isic2019", on_bad="quarantine")
    assert raw.bad.set_index("image_id")["reason"]["ISIC_0000000"] == str(error.value)
    assert len(raw.metadata) == 8 and raw.bad["row"].tolist() == [7, listed]


def test_a_ground_truth_and_metadata_that_name_other_images_are_wrong_either_way(isic2019):
    change(isic2019 / TRUTH, "ISIC_0000000,", "ISIC_0000001,")
    with pytest.raises(DataError, match=rf"{TRUTH}, line 11 \(ISIC_0000001\): .*Metadata\.csv has no row of this"):
        read(isic2019, "isic2019")
    bad = read(isic2019, "isic2019", on_bad="quarantine").bad
    assert bad["image_id"].tolist() == ["ISIC_0000001", "ISIC_0024329", "ISIC_0000000"]
    assert "dx is '', expected one of MEL" in bad["reason"][2]
    assert bad["file"].tolist() == [TRUTH, "ISIC_2019_Training_Metadata.csv", "ISIC_2019_Training_Metadata.csv"]


@pytest.mark.parametrize("on_bad", ["fail", "quarantine"])
def test_a_ground_truth_that_is_broken_stops_the_reader_in_either_way(isic2019, on_bad):
    change(isic2019 / TRUTH, "UNK", "UNKNOWN")
    with pytest.raises(DataError, match=r"column 'UNK' is missing"):
        read(isic2019, "isic2019", on_bad)
    change(isic2019 / TRUTH, "ISIC_0000000,", "ISIC_0024306,")
    with pytest.raises(DataError, match=rf"{TRUTH}: ISIC_0024306 has more than one row"):
        read(isic2019, "isic2019", on_bad)
    (isic2019 / TRUTH).unlink()
    with pytest.raises(DataError, match=rf"there is no {TRUTH}; take it from https://challenge\.isic-archive\.com"):
        read(isic2019, "isic2019", on_bad)


@pytest.fixture
def pad_ufes_20(tmp_path) -> Path:
    folder = tmp_path / "pad"
    rows = [  # patient_id, lesion_id, age, gender, fitspatrick, region, diagnostic, number of the image, biopsed
        ("PAT_1516", "1765", "8", "", "", "ARM", "NEV", 530, "False"),
        ("PAT_46", "881", "55", "FEMALE", "3.0", "NECK", "BCC", 939, "True"),
        ("PAT_38", "1003", "53", "MALE", "2.0", "FACE", "ACK", 68, "True"),
        ("PAT_38", "1003", "53", "MALE", "2.0", "FACE", "ACK", 226, "True"),
        ("PAT_1288", "1003", "39", "", "", "BACK", "NEV", 553, "False"),
        ("PAT_70", "107", "67", "MALE", "1.0", "LIP", "MEL", 591, "True"),
        ("PAT_380", "1540", "71", "FEMALE", "6.0", "HAND", "SCC", 959, "True"),
        ("PAT_1304", "1079", "77", "", "", "THIGH", "SEK", 859, "False"),
    ]
    columns = ["patient_id", "lesion_id", "age", "gender", "fitspatrick", "region", "diagnostic", "img_id", "biopsed"]
    names = [f"{patient}_{lesion}_{number}.png" for patient, lesion, *_, number, _ in rows]
    table = [(*row[:-2], name, row[-1]) for row, name in zip(rows, names, strict=True)]
    pd.DataFrame(table, columns=columns).assign(smoke="").to_csv(folder.with_suffix(".csv"), index=False)
    for k, name in enumerate(names):
        picture(folder / "images" / f"imgs_part_{k % 3 + 1}" / name)
    folder.with_suffix(".csv").rename(folder / "metadata.csv")
    return folder


def test_pad_ufes_20_tells_lesions_of_the_same_number_apart_by_their_patients(pad_ufes_20):
    raw = read(pad_ufes_20, "pad_ufes_20")
    columns = ("lesion_id", "dx", "dx_type", "age", "sex", "localization", "fitzpatrick")
    assert rows_of(raw, *columns) == {
        "PAT_1516_1765_530": ("PAT_1516_1765", "nv", "consensus", 8, "unknown", "upper extremity", None),
        "PAT_46_881_939": ("PAT_46_881", "bcc", "histo", 55, "female", "neck", 3),
        "PAT_38_1003_68": ("PAT_38_1003", "akiec", "histo", 53, "male", "face", 2),
        "PAT_38_1003_226": ("PAT_38_1003", "akiec", "histo", 53, "male", "face", 2),
        "PAT_1288_1003_553": ("PAT_1288_1003", "nv", "consensus", 39, "unknown", "back", None),
        "PAT_70_107_591": ("PAT_70_107", "mel", "histo", 67, "male", "face", 1),
        "PAT_1304_1079_859": ("PAT_1304_1079", "bkl", "consensus", 77, "unknown", "lower extremity", None),
    }
    assert raw.bad["image_id"].tolist() == ["PAT_380_1540_959"]
    assert raw.metadata[["age", "fitzpatrick"]].dtypes.tolist() == [float, float]


@pytest.mark.parametrize("zipped", [[1], [1, 2, 3]])
def test_pad_ufes_20_may_be_zipped_in_parts(pad_ufes_20, zipped):
    for part in zipped:
        unpacked = pad_ufes_20 / "images" / f"imgs_part_{part}"
        with ZipFile(pad_ufes_20 / "images" / f"imgs_part_{part}.zip", "w") as archive:
            for path in sorted(unpacked.iterdir()):
                archive.write(path, f"imgs_part_{part}/{path.name}")
                path.unlink()
        unpacked.rmdir()
    raw = read(pad_ufes_20, "pad_ufes_20")
    assert len(raw.images) == 7 and raw.images["PAT_1516_1765_530"].image()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (",BCC,", ",BOD,", "diagnostic is 'BOD', expected one of ACK, BCC, MEL, NEV, SEK, SCC;"),
        (",NECK,", ",NAPE,", "region is 'NAPE', expected one of ABDOMEN, ARM, "),
        (",3.0,", ",7.0,", "fitspatrick is '7.0', expected 1 to 6, or nothing"),
        (",3.0,", ",2.5,", "fitspatrick is '2.5', expected 1 to 6"),
        ("55,FEMALE", "55,F", "gender is 'F', expected one of FEMALE, MALE"),
        ("PAT_46,881,", "PAT_46,,", r"\{patient_id\}_\{lesion_id\} is '', expected a name"),
    ],
)
def test_a_word_that_the_publishers_do_not_use_is_named_in_their_words(pad_ufes_20, old, new, sentence):
    change(pad_ufes_20 / "metadata.csv", old, new)
    with pytest.raises(DataError, match=rf"metadata\.csv, line 3 \(PAT_46_881_939\): {sentence}") as error:
        read(pad_ufes_20, "pad_ufes_20")
    raw = read(pad_ufes_20, "pad_ufes_20", on_bad="quarantine")
    assert raw.bad.set_index("image_id")["reason"]["PAT_46_881_939"] == str(error.value)
    assert len(raw.metadata) == 6


@pytest.fixture
def fitzpatrick17k(tmp_path) -> Path:
    folder = tmp_path / "fitzpatrick17k"
    rows = {
        "psoriasis": "2", "melanoma": "-1", "lentigo maligna": "1", "superficial spreading melanoma ssm": "2",
        "halo nevus": "4", "basal cell carcinoma morpheiform": "5", "seborrheic keratosis": "6", "dermatofibroma": "3",
        "granuloma pyogenic": "3", "actinic keratosis": "1", "squamous cell carcinoma": "2",
    }  # fmt: skip
    lines = ["md5hash,fitzpatrick_scale,fitzpatrick_centaur,label,nine_partition_label,three_partition_label,qc,url"]
    for k, (label, scale) in enumerate(rows.items()):
        picture(folder / "images" / f"{k:032x}.jpg")
        lines.append(f"{k:032x},{scale},{scale},{label},,,,https://www.dermaamin.com/{k}.jpg")
    (folder / "fitzpatrick17k.csv").write_text("\n".join(lines))
    return folder


def test_fitzpatrick17k_gives_skin_types_and_lists_what_is_none_of_the_seven(fitzpatrick17k):
    raw = read(fitzpatrick17k, "fitzpatrick17k")
    assert raw.metadata["dx"].tolist() == ["mel", "mel", "mel", "nv", "bcc", "bkl", "df", "vasc", "akiec"]
    assert rows_of(raw, "fitzpatrick")[f"{1:032x}"] == (None,)
    assert raw.metadata["fitzpatrick"].tolist()[1:] == [1, 2, 4, 5, 6, 3, 3, 1]
    assert (raw.metadata["lesion_id"] == raw.metadata["image_id"]).all()
    assert raw.metadata["age"].isna().all() and set(raw.metadata["sex"]) == {"unknown"}
    assert raw.bad["reason"].tolist() == [f"dx {dx!r} is {UNUSED}" for dx in ("psoriasis", "squamous cell carcinoma")]


def test_a_picture_that_could_not_be_fetched_is_listed_and_the_set_used_without(fitzpatrick17k):
    (fitzpatrick17k / "images" / f"{1:032x}.jpg").unlink()
    with pytest.raises(DataError, match=r"1\.jpg is in no images nor images\.zip .*\(1 of 9 images are missing\)"):
        read(fitzpatrick17k, "fitzpatrick17k")
    raw = read(fitzpatrick17k, "fitzpatrick17k", on_bad="quarantine")
    assert len(raw.metadata) == 8 and raw.bad["row"].tolist() == [2, 12, 3]


@pytest.fixture
def ph2(tmp_path) -> Path:
    folder = tmp_path / "PH2Dataset"
    rows = {
        "IMD003": ("", 0),
        "IMD009": ("", 0),
        "IMD155": ("", 1),
        "IMD168": ("", 2),
        "IMD211": ("Nodular Melanoma", 2),
    }
    lines = [
        "||   Name || Histological Diagnosis || Clinical Diagnosis || Asymmetry | Pigment Network | Dots/Globules |"
        " Streaks | Regression Areas | Blue-Whitish Veil ||           Colors ||"
    ]
    for name, (histology, clinical) in rows.items():
        lines.append(f"|| {name} || {histology:>22} || {clinical:>18} || 0 | T | A | A | A | A ||             3  4 ||")
        place = folder / "PH2 Dataset images" / name
        picture(place / f"{name}_Dermoscopic_Image" / f"{name}.bmp")
        picture(place / f"{name}_lesion" / f"{name}_lesion.bmp")
        picture(place / f"{name}_roi" / f"{name}_R1_Label3.bmp")
    legend = ["", "", "Legends for Clinical Diagnosis: ", "   0 - Common Nevus;", "   2 - Melanoma.", ""]
    (folder / "PH2_dataset.txt").write_text("\r\n".join([*lines, *legend]), newline="")
    return folder


def test_ph2_is_read_from_its_text_table_with_its_lesion_masks(ph2):
    raw = read(ph2, "ph2")
    assert rows_of(raw, "lesion_id", "dx", "dx_type", "dataset") == {
        "IMD003": ("IMD003", "nv", "unknown", "ph2"),
        "IMD009": ("IMD009", "nv", "unknown", "ph2"),
        "IMD155": ("IMD155", "nv", "unknown", "ph2"),
        "IMD168": ("IMD168", "mel", "unknown", "ph2"),
        "IMD211": ("IMD211", "mel", "histo", "ph2"),
    }
    assert raw.bad.empty
    for name, picture_file in raw.images.items():
        assert str(picture_file).endswith(f"{name}_Dermoscopic_Image/{name}.bmp")
        assert str(raw.masks[name]).endswith(f"{name}_lesion/{name}_lesion.bmp")


def test_a_row_of_ph2_that_is_cut_short_is_named_in_its_words(ph2):
    table = (ph2 / "PH2_dataset.txt").read_text()
    (ph2 / "PH2_dataset.txt").write_text(table.replace("|| IMD009 ||", "|| IMD009\n|| IMD010 ||"))
    with pytest.raises(DataError, match=r"line 3 \(IMD009\): Clinical Diagnosis is '', expected one of 0, 1, 2;"):
        read(ph2, "ph2")


@pytest.mark.parametrize("name", ["HAM10000_metadata.csv", "HAM10000_metadata.tab", "HAM10000_metadata"])
def test_ham10000_may_have_its_metadata_under_each_published_name(folder, name):
    before = read(folder)
    table = (folder / "HAM10000_metadata.csv").read_text()
    (folder / "HAM10000_metadata.csv").unlink()
    (folder / name).write_text(table if name.endswith("csv") else table.replace(",", "\t"))
    after = read(folder, "ham10000")
    pd.testing.assert_frame_equal(before.metadata, after.metadata)
    assert before.images == after.images and before.masks == after.masks and len(after.masks) == 42


LAYOUT = """\
source: the clinic next door
metadata: [list.txt]
separator: ";"
columns: {image_id: photo, lesion_id: lump or photo, age: age}
constants: {dx: mel, dataset: clinic, localization: scalp}
images: {places: [photos], names: ["*.PNG"]}
"""


@pytest.fixture
def own_layout(tmp_path) -> Path:
    (tmp_path / "own.yaml").write_text(LAYOUT)
    (tmp_path / "list.txt").write_text("photo;lump;age\na;7;60\nb;7;60\nc;;\n")
    for name in "abc":
        picture(tmp_path / "photos" / f"{name}.png")
    return tmp_path


def test_a_layout_of_ones_own_is_read_from_its_yaml(own_layout):
    raw = read(own_layout, own_layout / "own.yaml")
    assert rows_of(raw, "lesion_id", "dx", "dx_type", "age", "sex", "localization", "dataset") == {
        "a": ("7", "mel", "unknown", 60, "unknown", "scalp", "clinic"),
        "b": ("7", "mel", "unknown", 60, "unknown", "scalp", "clinic"),
        "c": ("c", "mel", "unknown", None, "unknown", "scalp", "clinic"),
    }


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("separator:", "seperator:", r"own\.yaml: layout\.seperator: .*: did you mean 'separator'\?"),
        ("names:", "name:", r"own\.yaml: layout\.images\.name: .*|layout\.images\.names: Field required"),
        ("age: age", "years: age", r"own\.yaml: layout\.columns\.years.*: Input should be 'lesion_id', 'image_id'"),
        ("lesion_id: lump or photo, ", "", "neither columns nor constants say what lesion_id is"),
        ("dx: mel, ", "", "neither columns nor constants say what dx is"),
        ("source: ", "values: {dx: {x: melanoma}}\nsource: ", r"layout\.values\.dx\.x: Input should be 'akiec'"),
        (
            "source: ",
            "values: {dx: {x: mel, x: nv}}\nsource: ",
            r"own\.yaml: not YAML \(line 1: 'x' comes twice; remove",
        ),
        ("[photos]", "[]", r"own\.yaml: layout\.images\.places: List should have at least 1 item"),
        ("[list.txt]", "['']", r"own\.yaml: layout\.metadata\.0: String should have at least 1 character"),
        ("metadata: [", "metadata: [[", r"own\.yaml: not YAML"),
        ("source: ", "licence: " + "[" * 500 + "\nsource: ", "not YAML .its brackets are nested too deeply"),
        ("dx: mel, ", "dx: mel, age: old, ", "age is described twice, among columns, constants and one_hot; keep one"),
        ("lump or photo", "'{photo}_{lump'", "columns: '{photo}_{lump' has a brace without its other half"),
        ('separator: ";"', "separator: semicolon", "separator: 'semicolon' is a word; write the sign itself"),
    ],
)
def test_a_layout_that_cannot_be_is_refused_by_key(own_layout, old, new, sentence):
    change(own_layout / "own.yaml", old, new)
    with pytest.raises(DataError, match=sentence):
        read(own_layout, own_layout / "own.yaml")


def test_an_unknown_layout_is_refused_with_the_nearest_name_and_all_names(tmp_path):
    with pytest.raises(
        DataError, match=rf"no layout 'isic2018': did you mean 'isic2019'\?; there are {', '.join(SHIPPED)}"
    ):
        layouts.load("isic2018")
    with pytest.raises(DataError, match=r"no layout .*mine\.yaml'.*, or name the \.yaml file of your own"):
        layouts.load(tmp_path / "mine.yaml")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_layout_opens_with_an_example_and_names_source_authors_and_licence(name):
    text = (Path(layouts.__file__).parent / f"{name}.yaml").read_text(encoding="utf-8")
    heading = text[: text.index("\nsource:")]
    assert all(line.startswith("#") for line in heading.splitlines())
    layout = layouts.load(name)
    assert layout.metadata[0] in heading and layout.source and layout.citation and layout.licence


def test_the_layout_in_the_readme_is_one(tmp_path):
    readme = (layouts.REPOSITORY / "README.md").read_text(encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(readme.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    assert layouts.load(tmp_path / "mine.yaml").values.dx["*"] is None
