// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

// On every page behind the login: where to come back to when the login page has renewed the session.
sessionStorage.setItem("page", location.pathname);
sessionStorage.removeItem("entering");
