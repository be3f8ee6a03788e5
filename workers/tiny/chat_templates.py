"""Chat templates of the architectures, in their own words and without what images never need.

Left out are tools, videos and the dates that some write down; the tokens around turns and images
are those of the published checkpoints.
"""

from collections.abc import Mapping

Turn = tuple[str, str]
"""What stands before and behind the content of a turn."""


def turns(
    image: str,
    roles: Mapping[str, Turn],
    *,
    asked: str | None = None,
    begin: str = "",
    system: str | None = None,
    answer: str = "",
) -> str:
    """Return a template in Jinja that renders one turn behind another.

    `image` stands for an image, `asked` is what invites the model to answer (by default what
    stands before its turn), `begin` opens the conversation, `system` is the prompt that is put in
    where none is given, and `answer` comes before the content of the model's turns.
    """
    written = "".join(
        f"{{% {'if' if number == 0 else 'elif'} message['role'] == '{role}' %}}{before}"
        f"{answer if role == 'assistant' else ''}{{{{ content(message) }}}}{after}"
        for number, (role, (before, after)) in enumerate(roles.items())
    )
    opening = roles["assistant"][0] if asked is None else asked
    default = ""
    if system is not None:
        before, after = roles["system"]
        default = (
            "{% if loop.first and message['role'] != 'system' %}"
            f"{before}{system}{after}{{% endif %}}"
        )
    return (
        "{% macro content(message) %}"
        "{% if message['content'] is string %}{{ message['content'] }}"
        "{% else %}{% for part in message['content'] %}"
        f"{{% if part['type'] == 'image' %}}{image}"
        "{% else %}{{ part['text'] }}{% endif %}"
        "{% endfor %}{% endif %}"
        "{% endmacro %}"
        f"{begin}"
        f"{{% for message in messages %}}{default}{written}{{% endif %}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{opening}{{% endif %}}"
    )
