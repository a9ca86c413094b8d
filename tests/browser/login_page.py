"""A page with Horizon's login form, for the test of scripts/dashboard-shot: the names of its fields,
a token against forged requests, a session, the page of a project. It is a fixture and no dashboard.

Prints the port that it listens on and serves until its standard input ends.
"""

import html
import http.server
import secrets
import sys
import threading
import urllib.parse

TOKEN = secrets.token_hex(8)
SESSION = secrets.token_hex(8)
FORM = """<!doctype html><title>Login - Fixture</title><h1>Log in</h1>{error}
<form method="post" action="/horizon/auth/login/">
<input type="hidden" name="csrfmiddlewaretoken" value="{token}">
<label>User Name <input name="username"></label>
<label>Password <input name="password" type="password"></label>
<button type="submit" id="loginBtn">Sign In</button></form>"""
PROJECT = """<!doctype html><title>Overview - Fixture</title>
<h1>Project of {user}</h1><p>This page is a fixture.</p>"""


class Page(http.server.BaseHTTPRequestHandler):
    user = None

    def do_GET(self):
        if f"sessionid={SESSION}" not in self.headers.get("Cookie", ""):
            if self.path == "/horizon/auth/login/":
                return self.answer(200, FORM.format(error="", token=TOKEN))
            return self.answer(302, "", [("Location", "/horizon/auth/login/")])
        return self.answer(200, PROJECT.format(user=html.escape(Page.user or "")))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        given = dict(urllib.parse.parse_qsl(body))
        if given.get("csrfmiddlewaretoken") != TOKEN:
            return self.answer(403, "<h1>Forbidden</h1>")
        if (given.get("username"), given.get("password")) != ("demo", "11111"):
            error = '<div class="alert alert-danger">Invalid credentials.</div>'
            return self.answer(200, FORM.format(error=error, token=TOKEN))
        Page.user = given["username"]
        cookie = ("Set-Cookie", f"sessionid={SESSION}; Path=/; HttpOnly")
        return self.answer(302, "", [("Location", "/horizon/project/"), cookie])

    def answer(self, status, text, headers=()):
        self.send_response(status)
        for name, value in [("Content-Type", "text/html; charset=utf-8"), *headers]:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
