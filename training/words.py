"""Everyday prompt words that the captions of the drawn world do not contain.

The tokenizer learns whole-word merges from them; an unknown word would be split into letters. A few of them are added
to training captions, so that the model learns to ignore words that it never saw drawn.
"""

EVERYDAY = """
a about above across after again air all alone along amazing among an ancient and angel animal anime apple
architecture arm art artist artstation astronaut at baby background ball bear beauty become behind being below between
big bird birds black blossom blurry body book bottle bottom boy bridge bright broken brown building burning butterfly
by cabin camera candle candy car castle cat cathedral cave chair character child children church circle clean close
closeup cloth clothes coconut coffee cold color colorful colors colour composition concept cottage cozy creature crowd
cube cup curtain cute cyan cyberpunk dance dancer danger dark day deep deer depth design detail detailed details dog
dolphin door down dragon drawing dream dress durian eagle early earth elegant elephant empty enchanted engine epic
ethereal evening eye eyes fabric face fairy fall fantastic fantasy far fashion fast field film fine fire first fish
flame floating flower fluid flying fog food foot for forgotten fox fractal frame friend frog from front fruit full fur
future futuristic galaxy game garden gate gentle ghost giant girl glass glow glowing god goddess gold good gothic
grass great hair hall hand hands happy hard hat haunted head heart heaven hello hero hidden high history holding holy
home horse hot human ice illuminated image in incredible inside intense into is island its jellyfish jewel jungle king
kitchen kitten knight ladder lady lake lamp land large laser late leaf leaves left lens library life light lighthouse
lighting lights like line lion little living long looking lost love low lush machine made magic magical majestic man
many marble mask master material meadow medieval mermaid metal mind minimal mirror mist modern monkey monster mood
moon morning motion mouse mouth movie much mushroom music mysterious mystical neon new night no nose of oil old on one
only open orb ornate other out outside over owl pacific palace paper park particles party pattern people perfect
person photo photograph photography photorealistic picture pirate place plain plant plate play portal portrait poster
pretty prince princess psychedelic pure queen rabbit rainbow raining raven ray real realism realistic render rendering
retro right river robot rock roof room rose ruins running sad sail sand scene science sculpture sea secret shadow
shadows shape sharp ship shiny short side sign silver simple sitting skin skull sky slow small smile smiling smoke
smooth snake soft soldier song soul sound spaceship sparkling spider spirit spring square stage stairs standing star
statue steampunk stone store story strange street strong studio style subject summer sun surface surrealism swamp
sword symmetrical symmetry table tall tea technology temple texture that the thick thin this three tiger time tiny to
tower town toy train trees tropical tunnel turtle two ufo ultra under underwater unicorn universe unreal up urban
valley vase very victorian video view village vintage walking wall warm warrior water waterfall wave weird whale white
whole wide wild wind window winter wise witch with without wizard wolf woman wonder wood wooden world yellow young
zebra zen zoom bunny anthropomorphic holding cherry blossoms hyperrealistic octane volumetric watercolor watercolour
sketch pencil ink cartoon comic pixel low poly isometric vector minimalism impressionism gogh monet dali blurred ugly
deformed disfigured watermark text signature cropped worst quality jpeg artifacts grainy noisy lowres nsfw bad anatomy
extra limbs missing duplicate error logo username overexposed underexposed saturated boring
""".split()  # noqa: SIM905
