"""Logins with the user's name and wrong passwords from several addresses, beside logins with names that nobody has."""

import http.client
import itertools
import json
import threading

from ..user import PASSWORD

TITLE = "guessed passwords and a flood of logins"
SECONDS = 6
# A machine that is busy with other work takes longer until enough was tried.
AT_MOST = 60
ADDRESSES = 4
AT_ONCE = 5
# Of one address for one account, before it has to wait 10 s for the next.
GUESSES = 10


def login(stage, name, password, source):
    connection = http.client.HTTPConnection("127.0.0.1", stage.pod.http, timeout=30, source_address=(f"127.0.0.{source}", 0))
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}, "password": password}
    try:
        connection.request("POST", "/_matrix/client/v3/login", json.dumps(body))
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


class Guesser(threading.Thread):
    """Guesses from one address until told to stop; every other time under a name of its own."""

    def __init__(self, stage, source, over):
        super().__init__(daemon=True)
        self.stage, self.source, self.over, self.answers = stage, source, over, []

    def run(self):
        for number in itertools.count():
            if self.over.is_set():
                return
            name = self.stage.user.account.name if number % 2 == 0 else f"nobody-{self.source}-{self.name}-{number}"
            try:
                status = login(self.stage, name, "a guess", self.source)
            except (OSError, http.client.HTTPException):
                continue
            if number % 2 == 0:
                self.answers.append(status)


def judged_of(answers):
    return sum(answer == 403 for answer in answers)


def is_beyond_the_bound(guessers):
    answers = [answer for guesser in guessers for answer in list(guesser.answers)]
    return len(answers) > 2 * judged_of(answers)


def play(stage):
    over = threading.Event()
    guessers = [Guesser(stage, 2 + number % ADDRESSES, over) for number in range(ADDRESSES * AT_ONCE)]
    began, logins = stage.now(), []
    for guesser in guessers:
        guesser.start()
    try:
        while stage.now() < began + SECONDS or (stage.now() < began + AT_MOST and not is_beyond_the_bound(guessers)):
            logins.append(login(stage, stage.user.account.name, PASSWORD, 1))
    finally:
        over.set()
        for guesser in guessers:
            guesser.join()
    answers = [answer for guesser in guessers for answer in guesser.answers]
    judged, took = judged_of(answers), stage.now() - began
    stage.note(f"{len(answers)} guesses, {judged} judged; the owner logged in {len(logins)} times")
    # Each address has one more for each 10 s.
    bound = ADDRESSES * (GUESSES + 1 + took // 10)
    stage.check(f"guesses are bounded: {judged} were judged in {took:.0f} s", judged <= bound)
    stage.check(f"guesses were tried beyond the bound: {len(answers)}", len(answers) > 2 * judged)
    # The first may wait in the queue for longer than it has places; then it says when to come again.
    refused = [status for status in logins if status != 200]
    stage.check(f"the owner is let in: {refused}", not refused)
