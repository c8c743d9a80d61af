"""Measures Kitfox beside bare libraries and other model servers."""
