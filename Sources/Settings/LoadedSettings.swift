// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// A configuration that was read without a mistake, and what belongs to its reading.
package struct LoadedSettings: Sendable {
    package let settings: Settings
    /// What the gateway will not use, or what has no effect: `FILE:LINE:COLUMN: key.path: message`, in the order of the lines.
    package let warnings: [SettingsProblem]
    /// SHA-256 of everything that was read: the file, the files that it names and the variables. Equal digests: nothing has changed.
    package let digest: [UInt8]
    private let file: String
    private let places: [String: Place]

    init(settings: Settings, warnings: [SettingsProblem], digest: [UInt8], file: String, places: [String: Place]) {
        self.settings = settings
        self.warnings = warnings
        self.digest = digest
        self.file = file
        self.places = places
    }

    /// What this configuration changes of a running one that only a restart can change: `workers`, `store`, `admin.address`.
    package func problems(replacing running: Settings) -> [SettingsProblem] {
        var changed: [String] = []
        if settings.workers != running.workers { changed.append("workers") }
        if settings.store != running.store { changed.append("store") }
        if settings.admin.address != running.admin.address { changed.append("admin.address") }
        return changed.map { key in
            SettingsProblem(file: file, place: place(of: key), key: key, message: "has changed, which needs a restart")
        }.sorted { $0.place < $1.place }
    }

    /// A mistake that shows only when the settings are put to use.
    package func problem(_ key: String, _ message: String) -> SettingsProblems {
        SettingsProblems(problems: [SettingsProblem(file: file, place: place(of: key), key: key, message: message)], digest: digest)
    }

    private func place(of key: String) -> Place {
        var key = key
        while true {
            if let place = places[key] { return place }
            guard let parent = SettingPath.parent(of: key) else { return .start }
            key = parent
        }
    }
}
