if true {
    keep
}
if anyof (true, false,) {
    stop $;
}
