"""What is measured on rendered clips."""

from lavie.evaluation.suites import Suite

SUITES = {
    "synthetic": Suite(
        help="do clips show what their prompts say?",
        module="lab.sprites.suites.synthetic",
        clips=400,
        clips_with={"gap_only": 12},
        options={
            "--gap-only": {"action": "store_true", "help": "only the word-swap gap per noise level, in seconds"},
        },
    ),
    "extension": Suite(
        help="what four recursions keep, and whether the motion goes on",
        module="lab.sprites.suites.extension",
        clips=36,
        kinds=lambda options: 2,
        options={
            "--method": {
                "default": "",
                "help": "conditioned (the extension stage, default) or replacement (the base stage, training-free)",
            },
        },
    ),
    "retention": Suite(
        help="video prompts with colours that only images taught",
        module="lab.sprites.suites.retention",
        clips=100,
        kinds=lambda options: 2,
    ),
    "lora": Suite(
        help="does a new subject appear, and does all else stay?",
        module="lab.sprites.suites.lora",
        clips=63,
        kinds=lambda options: 4 + bool(options.get("other_lora")),
        options={
            "--lora": {"default": "", "metavar": "FILE", "help": "a LoRA of the subject"},
            "--trigger": {"default": "", "metavar": "WORD", "help": "the word that calls for it"},
            "--subject": {"default": "", "help": "what it is to show, cat (default) or mushroom"},
            "--other-lora": {"default": "", "metavar": "FILE", "help": "another one, put on beside it"},
        },
    ),
    "long": Suite(
        help="what holds over 80 frames, by every method",
        module="lab.sprites.suites.long",
        clips=9,
        kinds=lambda options: 1 if options.get("method") else 6,
        options={"--method": {"default": "", "help": "one method alone (default: all)"}},
    ),
}
