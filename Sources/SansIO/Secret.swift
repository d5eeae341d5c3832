// SPDX-License-Identifier: Apache-2.0

/// A value that no log, description or mirror ever shows: passwords, keys, tokens, presigned addresses.
public struct Secret<Value: Sendable>: Sendable {
  /// The value itself. The name is long so that its uses are seen in a review.
  public let unredacted: Value

  /// Wraps a value.
  public init(_ value: Value) { unredacted = value }
}

extension Secret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  /// A placeholder.
  public var description: String { "<redacted>" }
  /// A placeholder.
  public var debugDescription: String { "<redacted>" }
  /// An empty mirror, so that `dump` and synthesised descriptions show nothing.
  public var customMirror: Mirror { Mirror(self, children: EmptyCollection<Mirror.Child>()) }
}

extension Secret: Equatable where Value: Equatable {}
extension Secret: Hashable where Value: Hashable {}
