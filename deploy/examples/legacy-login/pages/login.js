// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import { login, refresh } from "./api.js";

const form = document.getElementById("login");
const notice = document.getElementById("notice");
const problem = document.getElementById("problem");
const button = form.querySelector("button");

const PROBLEMS = {
  login_failed: "User name and password do not belong together.",
  rate_limited: "Too many failed logins. Try again in a minute.",
};
const BUSY = "Too many people are logging in. Try again in a moment.";
const UNAVAILABLE = "The login cannot be reached just now. Try again in a moment.";

function tell(text) {
  notice.textContent = text;
  notice.hidden = false;
}

function enter() {
  // Still there when this page is shown again: then the browser has not kept the cookies.
  sessionStorage.setItem("entering", "yes");
  location.replace(sessionStorage.getItem("page") ?? "/");
}

/** What browsers tell of themselves, in words; the user can write something better. */
function deviceName() {
  const agent = navigator.userAgent;
  const systems = [["Android", "Android phone"], ["iPhone", "iPhone"], ["iPad", "iPad"], ["Windows", "Windows computer"], ["Mac OS", "Mac"]];
  return systems.find(([mark]) => agent.includes(mark))?.[1] ?? "Computer";
}

async function arrive() {
  document.getElementById("device").value = deviceName();
  if (sessionStorage.getItem("entering")) {
    sessionStorage.removeItem("entering");
    tell("Your browser did not keep the cookies of the login. It needs HTTPS, or http://localhost in a browser that trusts it.");
    return;
  }
  // Sent here because the access token is over? The refresh token may be good.
  const renewed = await refresh();
  if (renewed.status === 200) return enter();
  if (renewed.code === "session_revoked" || renewed.code === "refresh_reused") tell("You have been logged out on this device.");
  if (renewed.code === "token_expired") tell("You have not been here for long. Please log in again.");
  if (renewed.status === 0 || renewed.status >= 500) tell(UNAVAILABLE);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  problem.textContent = "";
  button.disabled = true;
  const { username, password, device } = Object.fromEntries(new FormData(form));
  const answer = await login({ username, password, device });
  button.disabled = false;
  if (answer.status === 200) return enter();
  const isBusy = answer.status === 503 && answer.code === "rate_limited";
  problem.textContent = isBusy ? BUSY : PROBLEMS[answer.code] ?? UNAVAILABLE;
  if (answer.code === "login_failed") document.getElementById("password").select();
});

arrive();
