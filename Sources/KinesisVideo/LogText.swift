// SPDX-License-Identifier: Apache-2.0

/// Makes others' text safe to log: one line, bounded, no control characters that steer a terminal or forge a record.
public enum LogText {
  /// The text with control characters, line separators and direction marks as `\u{..}`, cut to a length.
  ///
  /// - Parameters:
  ///   - text: What another party sent.
  ///   - charactersMax: How many Unicode scalars are kept before the escapes, the rest becomes one ellipsis.
  public static func escaped(_ text: String, charactersMax: Int = 256) -> String {
    var result = String.UnicodeScalarView()
    var count = 0
    for scalar in text.unicodeScalars {
      guard count < charactersMax else {
        result.append("…")
        break
      }
      count += 1
      if isHarmless(scalar) {
        result.append(scalar)
      } else {
        result.append(contentsOf: "\\u{\(String(scalar.value, radix: 16))}".unicodeScalars)
      }
    }
    return String(result)
  }

  private static func isHarmless(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate: false
    default: true
    }
  }
}
