// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import { call } from "./api.js";

const element = (id) => document.getElementById(id);
const times = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

const REASONS = {
  logout: "you logged out there",
  logout_all: "you logged out everywhere",
  user: "you ended it from this list",
  admin: "an administrator ended it",
  refresh_reuse: "a copy of its refresh token was used",
  max_per_user: "you had too many sessions, and it was the oldest",
  backchannel: "your identity provider ended it",
  revoked: "its token was revoked",
};

const leave = () => location.replace("/login");

function showProblem(answer) {
  if (answer.status === 401) return leave();
  element("problem").textContent = answer.status === 503 || answer.status === 0
    ? "That cannot be done just now, and may not have happened. Try again in a moment."
    : "That did not work. Load the page again to see how it is.";
}

/** `Mozilla/5.0 (X11; Linux x86_64) … Firefox/140.0` in words; what is none of the known ones is shown as it is. */
function browserName(agent) {
  if (!agent) return "unknown";
  const browsers = [["Edg", "Edge"], ["Firefox", "Firefox"], ["HeadlessChrome", "Chrome"], ["Chrome", "Chrome"], ["Version", "Safari"]];
  for (const [mark, name] of browsers) {
    const version = agent.match(new RegExp(`${mark}/(\\d+)`))?.[1];
    if (version) return `${name} ${version}`;
  }
  return agent;
}

function showTime(node, value) {
  node.textContent = value ? times.format(new Date(value)) : "unknown";
  if (value) node.dateTime = value;
}

function ending(session) {
  const when = session.revoked_at ? ` on ${times.format(new Date(session.revoked_at))}` : "";
  const why = session.revoke_reason ? ` because ${REASONS[session.revoke_reason] ?? session.revoke_reason}` : "";
  return `Logged out${when}${why}.`;
}

function item(session) {
  const node = element("session").content.firstElementChild.cloneNode(true);
  const find = (selector) => node.querySelector(selector);
  const name = session.device || "Unnamed device";
  node.dataset.session = session.session_id;
  find(".device").textContent = name;
  find(".badge").hidden = !session.current;
  find(".ip").textContent = session.ip ?? "unknown";
  find(".browser").textContent = browserName(session.user_agent);
  find(".browser").title = session.user_agent ?? "";
  showTime(find(".created"), session.created_at);
  showTime(find(".seen"), session.last_seen_at);
  if (session.revoked) {
    find(".ending").textContent = ending(session);
    find(".ending").hidden = false;
  } else if (!session.current) {
    const button = find(".end");
    button.hidden = false;
    // Several buttons of one name are told apart by what comes after it.
    button.querySelector("span").textContent = ` ${name}`;
    button.addEventListener("click", () => end(session, name, button));
  }
  return node;
}

async function show() {
  const answer = await call("GET", "/sessions");
  if (answer.status !== 200) return showProblem(answer);
  const newest = (key) => (one, other) => (other[key] ?? "").localeCompare(one[key] ?? "");
  const active = answer.body.sessions.filter((session) => !session.revoked).sort(newest("created_at"));
  const ended = answer.body.sessions.filter((session) => session.revoked).sort(newest("revoked_at"));
  active.sort((one, other) => other.current - one.current);
  element("active").replaceChildren(...active.map(item));
  element("active").setAttribute("aria-busy", "false");
  element("ended").replaceChildren(...ended.map(item));
  element("ended-section").hidden = ended.length === 0;
}

async function end(session, name, button) {
  button.disabled = true;
  element("problem").textContent = "";
  const answer = await call("DELETE", `/sessions/${encodeURIComponent(session.session_id)}`);
  if (answer.status !== 204 && answer.status !== 404) {
    button.disabled = false;
    return showProblem(answer);
  }
  await show();
  element("status").textContent = `${name} has been logged out.`;
  // The button that had the focus is gone.
  element("title").focus();
}

element("logout").addEventListener("click", async () => {
  const answer = await call("POST", "/logout");
  return answer.status === 204 ? leave() : showProblem(answer);
});

element("logout-all").addEventListener("click", () => element("everywhere").showModal());
element("everywhere").addEventListener("close", async () => {
  if (element("everywhere").returnValue !== "yes") return;
  const answer = await call("POST", "/logout-all");
  return answer.status === 200 ? leave() : showProblem(answer);
});

show();
