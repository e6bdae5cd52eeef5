"""The passages of documents that are nearest to a claim, by the embedded encoder and by shared words.

A passage is a sentence with its neighbours. The sentences' vectors are kept in the cache folder, by the documents'
digest. Shapes: S sentences, D dimensions.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from domains.cache import cache_folder
from domains.example import Document
from judges.claims import content_stems
from judges.embeddings import load_encoder
from judges.sentences import sentences

HEADING = re.compile(r"^#+ .*$", re.MULTILINE)
MIN_WORDS = 4
NEIGHBOURS = 1
CANDIDATES = 12
COSINE_SHARE = 0.5


@dataclass(frozen=True)
class Sentence:
    """A sentence of a document, with the content stems of itself and of the passage around it."""

    document_id: str
    text: str
    passage: str
    stems: frozenset[str]
    passage_stems: frozenset[str]


@dataclass(frozen=True)
class Likeness:
    """How like a text and a passage are: the cosine of the text and the passage's sentence, and the share of the text's
    content that the passage has (by inverse document frequency)."""

    cosine: float
    covered: float

    @property
    def strength(self) -> float:
        """Both together, 0 to 1."""
        return COSINE_SHARE * max(0.0, self.cosine) + (1 - COSINE_SHARE) * self.covered


@dataclass(frozen=True)
class Match:
    """A sentence near a claim: how like it is to the claim alone, and to the claim after what was asked."""

    sentence: Sentence
    alone: Likeness
    asked: Likeness


@dataclass(frozen=True)
class Index:
    """The sentences of documents, their vectors [S, D], and how rare each stem is."""

    sentences: tuple[Sentence, ...]
    vectors_SD: Tensor
    rarity: dict[str, float]

    def nearest(self, claims: Sequence[str], question: str = "") -> list[list[Match]]:
        """The candidates for each claim: the nearest by cosine to it, and to it after what was asked."""
        if not self.sentences:
            return [[] for _ in claims]
        contexts = [f"{question} {claim}".strip() for claim in claims]
        encode = load_encoder("", None).sentence_vectors
        alone_CS, asked_CS = encode(claims) @ self.vectors_SD.T, encode(contexts) @ self.vectors_SD.T
        return [
            [
                Match(self.sentences[at], self.likeness(claim, at, alone_S), self.likeness(context, at, asked_S))
                for at in candidates(alone_S, asked_S)
            ]
            for claim, context, alone_S, asked_S in zip(claims, contexts, alone_CS, asked_CS, strict=True)
        ]

    def likeness(self, text: str, place: int, cosines_S: Tensor) -> Likeness:
        """A text against one sentence."""
        stems = content_stems(text)
        covered = self.weight(stems & self.sentences[place].passage_stems) / (self.weight(stems) or 1.0)
        return Likeness(float(cosines_S[place]), covered)

    def weight(self, stems: Iterable[str]) -> float:
        """How much stems say together; one that no document has counts like the rarest."""
        unseen = log(len(self.sentences) + 1)
        return sum(self.rarity.get(each, unseen) for each in stems)


def candidates(*cosines_S: Tensor) -> list[int]:
    """The places of the sentences that are nearest by any of the cosines, without repetition."""
    found = (cosines.topk(min(CANDIDATES, len(cosines))).indices.tolist() for cosines in cosines_S)
    return list(dict.fromkeys(place for places in found for place in places))


def index_of(documents: Sequence[Document]) -> Index:
    """The index of documents; made once for the same texts."""
    return cached_index(tuple(documents))


@lru_cache(maxsize=4)
def cached_index(documents: tuple[Document, ...]) -> Index:
    """Split, count, embed."""
    found = tuple(sentence for document in documents for sentence in split(document))
    counts = Counter(each for sentence in found for each in sentence.stems)
    rarity = {each: log((len(found) + 1) / (count + 1)) + 0.1 for each, count in counts.items()}
    return Index(found, vectors_of([sentence.text for sentence in found]), rarity)


def split(document: Document) -> list[Sentence]:
    """The sentences of a document that are long enough to say something; headings say nothing."""
    texts = [text for text in sentences(HEADING.sub("", document.text)) if len(text.split()) >= MIN_WORDS]
    made = []
    for place, text in enumerate(texts):
        passage = " ".join(texts[max(0, place - NEIGHBOURS) : place + NEIGHBOURS + 1])
        made.append(Sentence(document.id, text, passage, content_stems(text), content_stems(passage)))
    return made


def vectors_of(texts: Sequence[str]) -> Tensor:
    """The unit vectors of texts [S, D], from the cache when they are there."""
    path = cache_folder() / "passages" / f"{hashlib.sha256(chr(0).join(texts).encode()).hexdigest()[:32]}.safetensors"
    if path.is_file():
        return load_file(path)["vectors"]
    vectors_SD = load_encoder("", None).sentence_vectors(texts).contiguous()
    keep(path, vectors_SD)
    return vectors_SD


def keep(path: Path, vectors_SD: Tensor) -> None:
    """Write vectors so that the file is whole when it is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    save_file({"vectors": vectors_SD.to(torch.float32)}, part)
    part.replace(path)
