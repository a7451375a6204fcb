"""The connection form of Airflow below 3.2, made from what newer versions read."""

from __future__ import annotations

from typing import Any

from airflow_provider_fullstory.get_provider_info import connection_type


def ui_field_behaviour() -> dict[str, Any]:
    """Return which fields of the form are hidden or relabeled, and their placeholders."""
    behaviour = connection_type()["ui-field-behaviour"]
    return {name.replace("-", "_"): value for name, value in behaviour.items()}


def widgets() -> dict[str, Any]:
    """Return the additional fields of the form."""
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
    from wtforms import IntegerField, StringField
    from wtforms.validators import Optional

    fields = {"integer": IntegerField, "string": StringField}
    return {
        name: fields[_type(field)](
            field["label"],
            description=field["description"],
            widget=BS3TextFieldWidget(),
            validators=[Optional()],
        )
        for name, field in connection_type()["conn-fields"].items()
    }


def _type(field: dict[str, Any]) -> str:
    types = field["schema"]["type"]
    return str(next(name for name in types if name != "null"))
