// SPDX-License-Identifier: Apache-2.0

public import Configuration
import SystemPackage

/// Where values come from: a flag, the environment, a file, a default, in this order.
public struct Settings: Sendable {
  private let environment: EnvironmentVariablesProvider
  private let file: EnvironmentVariablesProvider?

  /// Reads the process's environment and, when one is named, a file of `NAME=value` lines.
  ///
  /// - Throws: ``UsageError`` when the file cannot be read.
  public static func load(configFile: String?) async throws(UsageError) -> Settings {
    let environment = EnvironmentVariablesProvider()
    let named = configFile ?? (try? environment.environmentValue(forName: "KVS_WEBRTC_CONFIG"))
    guard let path = named else { return Settings(environment: environment, file: nil) }
    do {
      let file = try await EnvironmentVariablesProvider(environmentFilePath: FilePath(path))
      return Settings(environment: environment, file: file)
    } catch {
      throw UsageError("--config \(path) cannot be read: expected a file of NAME=value lines")
    }
  }

  /// Makes settings from given providers, for tests.
  public init(environment: EnvironmentVariablesProvider, file: EnvironmentVariablesProvider? = nil) {
    self.environment = environment
    self.file = file
  }

  /// A value with the name of where it came from.
  private struct Found {
    let value: String
    let origin: String
  }

  private func find(_ setting: Setting, flag: String?) -> Found? {
    if let flag { return Found(value: flag, origin: setting.flag) }
    for provider in [environment, file].compactMap({ $0 }) {
      for name in setting.environmentNames {
        if let value = try? provider.environmentValue(forName: name), !value.isEmpty {
          return Found(value: value, origin: name)
        }
      }
    }
    return nil
  }

  /// A text, `nil` when it was given nowhere.
  public func text(_ setting: Setting, flag: String? = nil) -> String? { find(setting, flag: flag)?.value }

  /// A text that must be given.
  public func requiredText(_ setting: Setting, flag: String? = nil) throws(UsageError) -> String {
    guard let value = text(setting, flag: flag) else { throw .missing(setting) }
    return value
  }

  /// What `parse` makes of a text, `nil` when it was given nowhere.
  ///
  /// - Throws: ``UsageError`` that names where the text came from, when `parse` makes nothing of it.
  public func value<Value>(
    _ setting: Setting, flag: String? = nil, _ parse: (String) -> Value?
  ) throws(UsageError) -> Value? {
    guard let found = find(setting, flag: flag) else { return nil }
    guard let value = parse(found.value) else { throw .invalid(setting, origin: found.origin) }
    return value
  }

  /// A whole number in a range.
  public func number(
    _ setting: Setting, flag: String? = nil, in range: ClosedRange<Int>, default defaultValue: Int
  ) throws(UsageError) -> Int {
    try value(setting, flag: flag) { text in Int(text).flatMap { range.contains($0) ? $0 : nil } }
      ?? defaultValue
  }

  /// What `parse` makes of each part of a text with commas; empty when it was given nowhere.
  ///
  /// - Parameter flags: what a flag was given, once or several times.
  public func list<Value>(
    _ setting: Setting, flags: [String] = [], _ parse: (String) -> Value?
  ) throws(UsageError) -> [Value] {
    let flag = flags.isEmpty ? nil : flags.joined(separator: ",")
    let values = try value(setting, flag: flag) { text -> [Value]? in
      let parts = text.split(separator: ",", omittingEmptySubsequences: false)
      let values = parts.compactMap { parse(String($0.drop { $0 == " " })) }
      return values.count == parts.count ? values : nil
    }
    return values ?? []
  }

  /// A switch: a flag that is there, or 1/0, true/false, yes/no, on/off in the environment.
  public func isOn(
    _ setting: Setting, flag: Bool, default defaultValue: Bool = false
  ) throws(UsageError) -> Bool {
    if flag { return true }
    return try value(setting) { text in
      switch text.lowercased() {
      case "1", "true", "yes", "on": true
      case "0", "false", "no", "off": false
      default: nil
      }
    } ?? defaultValue
  }
}
