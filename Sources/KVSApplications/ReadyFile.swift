// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// A small JSON file that tells other programs that this one is ready.
///
/// It is written beside its place and renamed, so that nobody reads half of it.
public enum ReadyFile {
  /// Writes `values` as one JSON object with sorted keys.
  ///
  /// - Throws: ``UsageError`` when the path cannot be written.
  public static func write(_ values: [String: String], to path: String) throws(UsageError) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do {
      var data = try encoder.encode(values)
      data.append(0x0a)
      try data.write(to: URL(filePath: path), options: .atomic)
    } catch {
      throw UsageError(
        "\(Setting.readyFile.flag) \(path) cannot be written: expected a path in a folder that exists")
    }
  }
}
