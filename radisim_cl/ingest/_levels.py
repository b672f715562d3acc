"""The stage that a real caption serves: the furthest skill that its words ask for.

Rules on words, in the order of the stages from the last; the first that holds decides. A label of the pair counts as words of the caption.

| level | what the caption says |
|---|---|
| grading | how bad or which kind: a grade, a stage, a score by name, benign or malignant, mild to severe |
| diagnosis | a disease or injury, what something is consistent with, or that there is none |
| localization | a place within an organ: a side, a lobe, a segment, a quadrant, an arrow |
| anatomy | a region or an organ |
| modality | how the image was made |
| "" | none of these |
"""

from __future__ import annotations

import re

_GRADING = r"""
    (who|tumou?r|histolog\w+|kellgren\S*|kl|fazekas|gleason|hunt|fisher|isup)[\s-]*(grade|score)\b | \bgrade\s*([0-5]|i{1,3}|iv|v)\b
  | \b(high|low)[\s-]grade\b | \b(stage|figo)\s*([0-4]|i{1,3}|iv)[abc]?\b | \b[pc]?t[1-4][abc]?n[0-3x]\b | \b(bi|li|pi|ti|o|lung)-?rads\b
  | \b(benign|malignant|metastatic|atypical|anaplastic)\b | \b(mild|mildly|moderate|moderately|severe|severely|massive|marked|minimal|advanced)\b"""
_DIAGNOSIS = r"""
    \b\w*(carcinoma|sarcoma|lymphoma|adenoma|glioma|blastoma|meningioma|myeloma|melanoma|teratoma|angioma|cytoma|fibroma|lipoma|schwannoma|hamartoma)s?\b
  | \b\w+itis\b | \b(pneumo|haemo|hemo|hydro|pyo)+(thorax|nephrosis|cephalus|peritoneum|pericardium|salpinx)\b | \bpneumonias?\b | \bcovid(-19)?\b
  | \b\w*(fractured?|tear|rupture|dislocation|aneurysm|stenosis|thrombosis|thrombus|embol\w+|infarct\w*|isch(a)?emi\w*|h(a)?emorrhag\w*|h(a)?ematoma
        |abscess|tubercul\w+|emphysema|fibrosis|cirrhosis|effusion|o?edema|atelectasis|consolidation|cardiomegaly|adenopathy|metastas[ie]s|cancer
        |tumou?r|neoplasm|cysts?|herniation|hernia|spondylolisthesis|scoliosis|osteoporosis|sclerosis|atrophy|stroke|dissection|obstruction
        |intussusception|volvulus|calculus|calculi|stones?|nodules?|mass(es)?|lesions?|opacit(y|ies)|infiltrates?|malformation|syndrome|disease
        |infection|abnormalit(y|ies))s?\b
  | \b(consistent|compatible)\s+with\b | \bdiagnos\w+ | \bsuggest(s|ive|ing)\b | \bno\s+acute\b | \bunremarkable\b | \bnormal\b
  | \b(enlarge|thicken|calcif|dilat|deviat|swell|swollen|flatten|blunt|hyperinflat|bleed|strand|cavit|collaps|congest|necro)\w*
  | \bplaques?\b | \bascites\b | \b(hypo|hyper)(dens|attenuat|intens|lucen)\w+ | \bair[\s-]fluid\b | \bfree[\s-]air\b
  | \b(mediastinal|midline)\s+shift\b | \babnormal\b
  | \bclear\s+lungs\b | \blungs\s+are\s+clear\b"""
_PLACE = r"""
    \b(left|right|bilateral|upper|lower|middle|anterior|posterior|medial|lateral|superior|inferior|proximal|distal|central|peripheral|apical|basal|caudal|cranial)\b
  | \b(lobe|lobes|segment|quadrant|hemisphere|hilum|apex|base|fossa|horn|pole)\b | \barrow(s|head|heads)?\b | \basterisks?\b | \bcircled?\b
  | \b(level\s+of|adjacent\s+to|located\s+in|origin(ates|ating)?\s+(of|from)|at\s+the\s+level)\b | \b([cls]\d|t([3-9]|1[0-2]))\b"""
_ANATOMY = r"""
    \b(head|brain|skull|orbits?|neck|chest|thora(x|cic)|lungs?|heart|cardiac|mediastinum|abdom(en|inal)|pelvi[sc]|liver|hepatic|spleen|splenic|kidneys?|renal|pancreas
      |pancreatic|gallbladder|bile|bowel|intestin\w+|colon|stomach|bladder|uterus|prostate|ovar(y|ian)|breasts?|spine|spinal|lumbar|cervical|vertebra\w*|knee|ankle|foot|hip|shoulder
      |elbow|wrist|hand|femur|femoral|tibia\w*|humerus|ribs?|aort(a|ic)|coronary|carotid|pulmonary|cerebral|cerebell\w+|ventricles?|thyroid|adrenal|muscles?|bones?|teeth|jaw)\b"""
_MODALITY = r"""
    \b(ct|cta|cbct|hrct|computed\s+tomogra\w+|tomogra\w+|mri?|mra|mrcp|magnetic\s+resonance|t[12][\s-]*(weighted|w|wi)?|flair|dwi|x-?rays?|xr|radiogra\w+|roentgenogra\w+
      |angiogra\w+|mammogra\w+|fluorosco\w+|ultraso\w+|sonogra\w+|pet|scintigra\w+|spect|axial|coronal|sagittal|contrast)\b"""
_RULES = tuple((name, re.compile(pattern, re.I | re.X)) for name, pattern in (
    ("grading", _GRADING), ("diagnosis", _DIAGNOSIS), ("localization", _PLACE), ("anatomy", _ANATOMY), ("modality", _MODALITY)))


def level(caption: str, labels: str = "") -> str:
    """`grading`, `diagnosis`, `localization`, `anatomy`, `modality`, or "" where the words ask for none of these.

    Args:
        caption: of the pair.
        labels: of the manifest, `name[@place]` joined by `|`.
    """
    words = f"{caption} {labels.replace('|', ' ').replace('_', ' ')}"
    return next((name for name, rule in _RULES if rule.search(words)), "")
