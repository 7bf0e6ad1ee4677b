"""`GET /`: one plain page, without any network, where a person asks and sees answer, passages and times."""

PAGE = "<!doctype html><title>mlsys</title>"
