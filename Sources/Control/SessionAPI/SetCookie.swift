// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions

extension ControlConfiguration {
    /// `Set-Cookie` values that hand both tokens to a browser (contract §3 `cookies`, §5 Times); none where cookies are off.
    func cookies(access: AccessToken, refresh: RefreshToken, sessionEnd: UnixMilliseconds, now: UnixMilliseconds) -> [String] {
        guard cookies.enabled else { return [] }
        return [
            cookie(cookies.accessName, access.text, path: "/", maxAge: (access.expiresAt * 1000 - now) / 1000),
            cookie(cookies.refreshName, refresh.text, path: refreshPath, maxAge: (sessionEnd - now) / 1000),
        ]
    }

    /// `Set-Cookie` values that remove both. With the same attributes: a browser ignores the removal of a prefixed cookie without `Secure`.
    func cookieRemovals() -> [String] {
        guard cookies.enabled else { return [] }
        return [cookie(cookies.accessName, "", path: "/", maxAge: 0), cookie(cookies.refreshName, "", path: refreshPath, maxAge: 0)]
    }

    /// The refresh token goes nowhere else.
    private var refreshPath: String { apiPath.map { $0.isEmpty ? "/" : $0 } ?? "/" }

    private func cookie(_ name: String, _ value: String, path: String, maxAge: Int64) -> String {
        "\(name)=\(value); Path=\(path); Max-Age=\(max(0, maxAge)); HttpOnly\(cookies.secure ? "; Secure" : ""); SameSite=\(cookies.sameSite.rawValue)"
    }
}
