// SPDX-License-Identifier: Apache-2.0

/// The parameters of `a=fmtp` in the usual syntax: `name=value` parted by semicolons.
struct FormatParameterList {
  private var pairs: [(name: String, value: String)] = []

  /// Reads parameters; names are compared in lower case, spaces around them do not count.
  init(_ text: String?) {
    for field in (text ?? "").split(separator: ";") {
      let parts = field.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let name = Self.trimmed(parts[0]).lowercased()
      guard !name.isEmpty else { continue }
      pairs.append((name, parts.count == 2 ? String(Self.trimmed(parts[1])) : ""))
    }
  }

  private static func trimmed(_ text: Substring) -> Substring {
    var text = text.drop { $0 == " " }
    while text.last == " " { text.removeLast() }
    return text
  }

  /// The value of the first parameter of that name.
  subscript(name: String) -> String? { pairs.first { $0.name == name }?.value }

  /// Sets a parameter in its place, or at the end.
  mutating func set(_ name: String, _ value: String) {
    if let index = pairs.firstIndex(where: { $0.name == name }) {
      pairs[index].value = value
    } else {
      pairs.append((name, value))
    }
  }

  /// Takes a parameter out.
  mutating func remove(_ name: String) { pairs.removeAll { $0.name == name } }

  /// The parameters as text.
  var text: String {
    pairs.map { $0.value.isEmpty ? $0.name : "\($0.name)=\($0.value)" }.joined(separator: ";")
  }
}
