"""Personal data in text: found by documented patterns, cue words and name lists, replaced by consistent surrogates.

No statistical tagger: the models of Presidio's and scrubadub's default set-up are not on PyPI, and everything here has
to work offline. Name lists come from Faker (MIT). `measure` gives recall and precision on a planted set.
"""

TYPES = (
    "name", "email", "phone", "ssn", "tax_id", "address", "date_of_birth", "card_number", "iban", "routing_number",
    "account_number", "policy_number", "medical_record_number", "medicare_number", "passport_number", "license_number",
    "vin", "license_plate", "ip_address", "mac_address", "url_with_user", "handle", "username", "password",
)  # fmt: skip
