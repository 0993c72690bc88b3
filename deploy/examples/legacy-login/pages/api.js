// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

// The session API of the gateway. Tokens are in cookies that no script can read; the browser says by itself that a call is of the same origin.

/** A call: `{status, code, body}`. Status 0 is no answer at all. */
async function ask(method, path, json) {
  try {
    const answer = await fetch(`/auth${path}`, {
      method,
      headers: json ? { "Content-Type": "application/json" } : {},
      body: json && JSON.stringify(json),
    });
    const text = await answer.text();
    const body = text ? JSON.parse(text) : {};
    return { status: answer.status, code: body.code, body };
  } catch {
    return { status: 0, body: {} };
  }
}

// Two refreshes at once would be two uses of one token: tabs take turns where the browser lets them.
const inTurn = (work) => (navigator.locks ? navigator.locks.request("refresh", work) : work());

export const login = (credentials) => ask("POST", "/login", credentials);
export const refresh = () => inTurn(() => ask("POST", "/refresh"));

/** As `ask`; the access token lives for minutes, so one that is over is renewed and the call made again. */
export async function call(method, path) {
  const first = await ask(method, path);
  if (first.status !== 401) return first;
  const renewed = await refresh();
  if (renewed.status === 200) return ask(method, path);
  // A fault of the gateway is no logout: what was asked for is only not known.
  return renewed.status === 400 || renewed.status === 401 ? first : renewed;
}
