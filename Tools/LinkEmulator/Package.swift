// swift-tools-version: 6.3
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

let common: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .treatAllWarnings(as: .error),
]

let package = Package(
  name: "LinkEmulator",
  products: [.executable(name: "link-emulator", targets: ["link-emulator"])],
  targets: [
    // What a link does to packets: values in virtual time, no clock, no socket, no bytes.
    .target(name: "LinkModel", swiftSettings: common),
    // TUN devices, namespaces and signals, which need C.
    .target(name: "CTUN"),
    .executableTarget(name: "link-emulator", dependencies: ["LinkModel", "CTUN"], swiftSettings: common),
    .testTarget(name: "LinkModelTests", dependencies: ["LinkModel"], swiftSettings: common),
  ]
)
