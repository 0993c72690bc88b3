// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// Users of every test that has a login: alice and bob.
package enum TestUsers {
    /// A users file; hashed as cheaply as the method allows.
    package static let file = """
        alice:$5$rounds=1000$saltsalt$7AgMyv1GxsQqK7a3DezJADVAxd6Nn5sQiozLVIGubI7
        bob:$5$rounds=1000$saltsalt$LCkNCZ5Ejf5KM6vvHr6/zZF7i9KEQRXqV.eyFs97ZS3
        """

    package static func password(of user: String) -> String { "password of \(user)" }
}
