"""A local server that speaks Telegram's Bot API, as far as a bot of ours uses it, with faults that a test plants."""

import asyncio
import json
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field

from aiohttp import web

TOKEN = "123456789:AAtheSecretOfATestBot-0123456789abcd"
USERNAME = "grid_test_bot"


@dataclass
class Sent:
    """A message that the bot has sent, as it is now."""

    number: int
    chat: int
    text: str
    buttons: list = field(default_factory=list)
    photo: bytes = b""
    is_silent: bool = False
    edits: int = 0


class BotApi:
    """The server. What persons do are its methods; what the bot has done are its lists."""

    def __init__(self):
        self.sent = []
        self.words = []  #: said at buttons
        self.asked = defaultdict(int)  #: requests by method
        self.offsets = []  #: of getUpdates
        self.commands = []
        self.is_away = False  #: no request is answered
        self.again = []  #: updates that are delivered once more although they are confirmed
        self._faults = defaultdict(deque)
        self._updates = []
        self._next = 1_000
        self._poller = None
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    # --- what persons do

    def say(self, text, chat=7, user=7, name="Ann", age=0.0, kind="private"):
        """Send a message to the bot; return the update's number."""
        message = {
            "message_id": self._next, "date": int(time.time() - age), "text": text,
            "chat": {"id": chat, "type": kind}, "from": {"id": user, "is_bot": False, "first_name": name},
        }  # fmt: skip
        return self._deliver({"message": message})

    def press(self, sent, place=0, user=7, name="Ann"):
        """Press a button below a message."""
        message = {"message_id": sent.number, "date": int(time.time()), "chat": {"id": sent.chat, "type": "private"}}
        query = {
            "id": f"query{self._next}", "from": {"id": user, "is_bot": False, "first_name": name}, "chat_instance": "x",
            "message": message | {"text": sent.text}, "data": sent.buttons[place]["callback_data"],
        }  # fmt: skip
        return self._deliver({"callback_query": query})

    def fail(self, method, status, times=1, **more):
        """Plant a fault: an answer with this status; `lost=True`: it is done, and the answer is lost."""
        self._faults[method].extend([(status, more)] * times)

    def texts(self, chat=None):
        """Return the texts of what was sent, without markup for bold."""
        return [one.text.replace("<b>", "").replace("</b>", "") for one in list(self.sent) if chat in (None, one.chat)]

    def wait_for(self, words, seconds=10.0, count=1):
        """Return the latest message that holds some words, waiting for so many of them."""
        return self.until(lambda: [one for one in list(self.sent) if words in one.text], seconds, count, words)[-1]

    def until(self, found, seconds=10.0, count=1, what=""):
        """Wait until something has so many elements, and return it."""
        end = time.monotonic() + seconds
        while len(some := found()) < count:
            assert time.monotonic() < end, f"not within {seconds} s: {what}; sent: {self.texts()}"
            time.sleep(0.01)
        return some

    # --- the server

    @property
    def url(self):
        return f"http://127.0.0.1:{self._port}"

    def _deliver(self, what):
        number = self._next
        self._next += 1
        self._loop.call_soon_threadsafe(self._updates.append, {"update_id": number} | what)
        return number

    def _serve(self):
        asyncio.set_event_loop(self._loop)
        app = web.Application(client_max_size=10_000_000)
        app.router.add_route("*", "/bot{token}/{method}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self._port = site._server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        for task in (left := asyncio.all_tasks(self._loop)):
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    async def _handle(self, request):
        method = request.match_info["method"]
        self.asked[method] += 1
        if self.is_away:
            request.transport.close()
            return web.Response()
        if request.match_info["token"] != TOKEN:
            return _refuse(401, "Unauthorized")
        form = dict((await request.post()).items())
        status, more = self._faults[method].popleft() if self._faults[method] else (200, {})
        if status != 200:
            return _refuse(status, more.pop("description", "planted"), **more)
        answer = await getattr(self, "_" + method)(form)
        if more.get("lost"):
            request.transport.close()
        return answer

    async def _getMe(self, form):
        return _done({"id": 123456789, "is_bot": True, "first_name": "Grid", "username": USERNAME})

    async def _deleteWebhook(self, form):
        return _done(True)

    async def _setMyCommands(self, form):
        self.commands = json.loads(form["commands"])
        return _done(True)

    async def _getUpdates(self, form):
        offset = int(form.get("offset", 0))
        self.offsets.append(offset or None)
        me = self._poller = object()
        end = time.monotonic() + float(form.get("timeout", 0))
        self._updates = [one for one in self._updates if one["update_id"] >= offset]
        while True:
            if self._poller is not me:
                return _refuse(409, "Conflict: terminated by other getUpdates request")
            if self.is_away:
                return _refuse(502, "Bad Gateway")
            found = self.again + self._updates
            if found or time.monotonic() >= end:
                self.again = []
                return _done(found[:100])
            await asyncio.sleep(0.01)

    async def _sendMessage(self, form):
        if len(form["text"]) > 4_096:
            return _refuse(400, "Bad Request: message is too long")
        markup = json.loads(form.get("reply_markup", "{}"))
        return self._keep(form, form["text"], [one for row in markup.get("inline_keyboard", ()) for one in row])

    async def _sendPhoto(self, form):
        return self._keep(form, form.get("caption", ""), [], form["photo"].file.read())

    async def _editMessageText(self, form):
        sent = next(one for one in self.sent if one.number == int(form["message_id"]))
        sent.text, sent.buttons, sent.edits = form["text"], [], sent.edits + 1
        return _done(self._message(sent))

    async def _answerCallbackQuery(self, form):
        self.words.append(form.get("text", ""))
        return _done(True)

    def _keep(self, form, text, buttons, photo=b""):
        sent = Sent(
            len(self.sent) + 1, int(form["chat_id"]), text, buttons, photo, form.get("disable_notification") == "true"
        )
        self.sent.append(sent)
        return _done(self._message(sent))

    def _message(self, sent):
        chat = {"id": sent.chat, "type": "private"}
        return {"message_id": sent.number, "date": int(time.time()), "chat": chat, "text": sent.text}


def _done(result):
    return web.json_response({"ok": True, "result": result})


def _refuse(status, description, **parameters):
    content = {"ok": False, "error_code": status, "description": description}
    return web.json_response(content | ({"parameters": parameters} if parameters else {}), status=status)
