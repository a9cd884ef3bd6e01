"""What is measured on rendered clips."""

from lavie.evaluation.suites import Suite

SUITES = {
    "fidelity": Suite(
        help="do clips show what their prompts say?",
        module="lab.measures.fidelity",
        clips=400,
        options={
            "--stills": {"action": "store_true", "help": "Measure images instead of clips, in a fraction of the time."},
            "--sheet": {"default": "", "metavar": "FILE", "help": "Write the first ones to this file, as one sheet."},
        },
    ),
    "gap": Suite(
        help="how much is lost with a wrong word, per noise level, in seconds",
        module="lab.measures.gap",
        clips=60,
    ),
    "extension": Suite(
        help="what five recursions keep, and whether what moves goes on",
        module="lab.measures.extension",
        clips=40,
        options={
            "--method": {
                "default": "",
                "help": "Use the extension stage (conditioned) or the base alone (replacement). (default: conditioned)",
            },
        },
    ),
    "retention": Suite(
        help="prompts for what only images taught",
        module="lab.measures.retention",
        clips=100,
        kinds=lambda options: 2,
    ),
    "lora": Suite(
        help="does a new guest appear, and does all else stay?",
        module="lab.measures.lora",
        clips=63,
        kinds=lambda options: 4,
        options={
            "--lora": {"default": "", "metavar": "FILE", "help": "The LoRA of the guest."},
            "--trigger": {"default": "", "metavar": "WORD", "help": "The word that calls for the guest."},
        },
    ),
    "long": Suite(
        help="what holds over 80 frames, by every method",
        module="lab.measures.long",
        clips=9,
        kinds=lambda options: 1 if options.get("method") else 6,
        options={"--method": {"default": "", "help": "Measure one method alone. (default: all)"}},
    ),
}
